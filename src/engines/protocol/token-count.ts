/** Asking an engine how long a chat's prompt is, in the two ways in which engines tell. */
import type { ChatTask, EngineCall, EngineRequest } from '../engine.ts'
import { invalid, isRecord, parseWhole } from './answer.ts'
import type { EnginePost } from './connection.ts'

/** What a template makes a prompt of. */
const promptFields = [
  'messages',
  'tools',
  'tool_choice',
  'reasoning_effort',
  'chat_template_kwargs',
]

/**
 * `/tokenize` takes a chat and counts it: vLLM (docs.vllm.ai, "Tokenizer API"), and our own engine. It also lists the tokens; nobody reads them here.
 */
export async function countByTokenize(
  request: EngineRequest<ChatTask>,
  post: EnginePost,
  call: EngineCall,
): Promise<number> {
  const body = { model: request.model, ...promptOf(request.task) }
  const value = parseWhole(await post('/tokenize', body, call))
  return toCount(isRecord(value) ? value['count'] : undefined)
}

/** `/apply-template` makes the prompt's text, and `/tokenize` its tokens: llama-server (llama.cpp, tools/server/README.md). */
export async function countByTemplate(
  request: EngineRequest<ChatTask>,
  post: EnginePost,
  call: EngineCall,
): Promise<number> {
  const templated = parseWhole(await post('/apply-template', promptOf(request.task), call))
  const prompt = isRecord(templated) ? templated['prompt'] : undefined
  if (typeof prompt !== 'string') throw invalid('a template without a prompt')
  // As the server does with the prompt of a chat.
  const body = { content: prompt, add_special: true, parse_special: true }
  const tokenized = parseWhole(await post('/tokenize', body, call))
  const tokens = isRecord(tokenized) ? tokenized['tokens'] : undefined
  return toCount(Array.isArray(tokens) ? tokens.length : undefined)
}

function promptOf({ body }: ChatTask): Readonly<Record<string, unknown>> {
  return Object.fromEntries(promptFields.map((field) => [field, body[field]]))
}

function toCount(value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) return value
  throw invalid('a count that is no number of tokens')
}
