/**
 * A chat in OpenAI's words as a request to Google's `generateContent` (cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference,
 * ai.google.dev/api/generate-content, "Thinking", "Thought signatures").
 */
import type { ChatTask } from '../../engine.ts'
import {
  readConversation,
  type Block,
  type Conversation,
  type OfferedTool,
  type Turn,
} from '../vendor/conversation.ts'
import {
  effortOf,
  formatOf,
  numberOf,
  refuseMissing,
  stopsOf,
  unsupported,
  withoutUndefined,
  type Effort,
} from '../vendor/request-fields.ts'

/** How the models of an engine are told to think: since Gemini 3 by a level, before by a budget of tokens. */
export type ThinkingStyle = 'level' | 'budget'

type Fields = Readonly<Record<string, unknown>>

const known: ReadonlySet<string> = new Set([
  'messages',
  'max_tokens',
  'temperature',
  'top_p',
  'top_k',
  'n',
  'stop',
  'seed',
  'frequency_penalty',
  'presence_penalty',
  'tools',
  'tool_choice',
  'response_format',
  'reasoning_effort',
  'chat_template_kwargs',
])
const budgetTokens: Readonly<Record<Effort, number>> = {
  none: 0,
  minimal: 512,
  low: 1_024,
  medium: 8_192,
  high: 24_576,
  xhigh: 24_576,
}
const levels: Readonly<Record<Effort, string>> = {
  none: 'minimal',
  minimal: 'minimal',
  low: 'low',
  medium: 'medium',
  high: 'high',
  xhigh: 'high',
}
const audioTypes: ReadonlyMap<string, string> = new Map([
  ['audio/wav', 'audio/wav'],
  ['audio/mp3', 'audio/mp3'],
  ['audio/flac', 'audio/flac'],
  ['audio/ogg', 'audio/ogg'],
  ['audio/opus', 'audio/ogg'],
  ['audio/aac', 'audio/aac'],
])
/** What Google documents for calls whose signature is not known, such as those that another model made. */
const unknownSignature = 'skip_thought_signature_validator'

export function renderContents(
  { body }: ChatTask,
  options: { readonly thinking: ThinkingStyle },
): Record<string, unknown> {
  refuseMissing(body, known)
  const conversation = readConversation(body)
  const { system, turns, tools } = conversation
  return withoutUndefined({
    systemInstruction: system.length > 0 ? { parts: system.map((text) => ({ text })) } : undefined,
    contents: turns.map((turn) => renderTurn(turn, options)),
    tools: tools.length > 0 ? [{ functionDeclarations: tools.map(renderTool) }] : undefined,
    toolConfig: renderToolChoice(conversation),
    generationConfig: renderGeneration(body, options),
  })
}

function renderGeneration(body: Fields, { thinking }: { thinking: ThinkingStyle }): Fields {
  const format = formatOf(body)
  const effort = effortOf(body)
  return withoutUndefined({
    maxOutputTokens: numberOf(body, 'max_tokens'),
    temperature: numberOf(body, 'temperature'),
    topP: numberOf(body, 'top_p'),
    topK: numberOf(body, 'top_k') || undefined,
    candidateCount: numberOf(body, 'n'),
    seed: numberOf(body, 'seed'),
    frequencyPenalty: numberOf(body, 'frequency_penalty'),
    presencePenalty: numberOf(body, 'presence_penalty'),
    stopSequences: stopsOf(body),
    responseMimeType: format && 'application/json',
    responseJsonSchema: format?.type === 'json_schema' ? format.schema : undefined,
    thinkingConfig: effort && {
      includeThoughts: effort !== 'none',
      ...(thinking === 'level'
        ? { thinkingLevel: levels[effort] }
        : { thinkingBudget: budgetTokens[effort] }),
    },
  })
}

function renderTool({ name, description, schema }: OfferedTool): Fields {
  return withoutUndefined({ name, description, parametersJsonSchema: schema })
}

function renderToolChoice({ tools, toolChoice }: Conversation): Fields | undefined {
  if (tools.length === 0 || toolChoice === undefined) return undefined
  const config =
    typeof toolChoice === 'object'
      ? { mode: 'ANY', allowedFunctionNames: [toolChoice.name] }
      : { mode: { auto: 'AUTO', none: 'NONE', required: 'ANY' }[toolChoice] }
  return { functionCallingConfig: config }
}

function renderTurn({ role, blocks }: Turn, options: { thinking: ThinkingStyle }): Fields {
  const reasoning = blocks.find((block) => block.type === 'reasoning')
  const signature =
    reasoning?.signature ?? (options.thinking === 'level' ? unknownSignature : undefined)
  let isSigned = false
  const parts = blocks.flatMap((block): Fields[] => {
    if (block.type === 'reasoning') return []
    if (block.type !== 'tool-call' || isSigned || signature === undefined)
      return [renderBlock(block)]
    // The first call of a turn carries the signature of what was thought before it.
    isSigned = true
    return [{ ...renderBlock(block), thoughtSignature: signature }]
  })
  return { role: role === 'assistant' ? 'model' : 'user', parts }
}

function renderBlock(block: Exclude<Block, { type: 'reasoning' }>): Fields {
  switch (block.type) {
    case 'text':
      return { text: block.text }
    case 'image':
    case 'file':
      return { inlineData: { mimeType: block.mediaType, data: block.base64 } }
    case 'audio': {
      const mimeType = audioTypes.get(block.mediaType)
      if (mimeType === undefined) throw unsupported(block.param)
      return { inlineData: { mimeType, data: block.base64 } }
    }
    case 'tool-call':
      return { functionCall: { name: block.name, args: block.input } }
    case 'tool-result':
      return { functionResponse: { name: block.name, response: { result: block.text } } }
  }
}
