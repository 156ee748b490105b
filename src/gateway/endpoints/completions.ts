/**
 * `POST /v1/completions`: text that goes on where a prompt ends. With `messages` in place of `prompt` it is a chat completion, and is answered as
 * one: clients exist that send chats here.
 */
import { sizeInput } from '../../billing/estimate.ts'
import { parseBoundedJson } from '../../platform/http/json-limits.ts'
import { Fault } from '../../platform/fault.ts'
import { defineEndpoint, type Answer } from '../endpoint.ts'
import { completionsDoc } from '../openapi/operations/completions.ts'
import { streamAnswer } from '../stages/respond.ts'
import { keepAliveComment } from '../wire/openai/chat-stream.ts'
import {
  completionFieldNames,
  parseCompletionRequest,
  type CompletionRequest,
} from '../wire/openai/completion-request.ts'
import {
  createCompletionEncoder,
  gatherCompletion,
  type CompletionOptions,
} from '../wire/openai/completion-stream.ts'
import { takeUnknownFields, tolerant, type FieldPolicy } from '../wire/openai/field-policy.ts'
import { toServedTier } from '../wire/openai/service-tier.ts'
import type { Work } from '../work.ts'
import { respondToChat, toChatWork, type ChatWork } from './chat-completions.ts'

interface TextWork extends Work {
  readonly request: CompletionRequest
}
type CompletionsWork = TextWork | ChatWork

const path = '/v1/completions'

export const completions = defineEndpoint<CompletionsWork>({
  path,
  doc: completionsDoc,
  parse: (bytes, { fieldPolicy }) => toCompletionsWork(parseBoundedJson(bytes), fieldPolicy),
  async respond(answer) {
    const { work } = answer
    if ('request' in work) await respondWithText({ ...answer, work })
    else await respondToChat({ ...answer, work })
  },
})

export function toCompletionsWork(value: unknown, policy: FieldPolicy = tolerant): CompletionsWork {
  const { messages, prompt }: { readonly messages?: unknown; readonly prompt?: unknown } =
    typeof value === 'object' && value !== null ? value : {}
  const isChat = messages !== undefined && messages !== null
  if (!isChat) return toTextWork(value, policy)
  if (prompt === undefined || prompt === null)
    return { ...toChatWork(value, policy), endpoint: path }
  throw new Fault({
    code: 'client.invalid_request',
    public: "'prompt' and 'messages' cannot be used together.",
    param: 'prompt',
  })
}

function toTextWork(value: unknown, policy: FieldPolicy): TextWork {
  const request = parseCompletionRequest(value)
  const extras = takeUnknownFields(value, completionFieldNames, policy)
  const { prompts, suffix, n, maxTokens, echo } = request
  const size = sizeInput({ input: [...prompts, ...(suffix === undefined ? [] : [suffix])] })
  return {
    request,
    endpoint: path,
    modelName: request.model,
    streamed: request.stream,
    tasks: [{ kind: 'completion', body: { ...extras, ...request.body } }],
    // Where only the prompt is looked at, nothing is generated.
    choices: maxTokens === 0 ? 0 : prompts.length * n,
    // A prompt that the engine echoes passes as one more piece of text.
    maxOutputTokens: maxTokens + (echo === 'engine' ? 1 : 0),
    estimatedInputTokens: size.estimatedTokens,
    inputTokensMax: size.tokensMax,
    longestTextBytes: longestPromptBytes(prompts),
  }
}

function longestPromptBytes(prompts: CompletionRequest['prompts']): number {
  return prompts.reduce<number>(
    (longest, prompt) =>
      Math.max(longest, typeof prompt === 'string' ? Buffer.byteLength(prompt) : prompt.length),
    0,
  )
}

async function respondWithText(answer: Answer<TextWork>): Promise<void> {
  const { exchange, model, parts, receipt, deps } = answer
  const { request } = answer.work
  const options: CompletionOptions = {
    id: `cmpl-${exchange.requestId.replace(/^req_/, '')}`,
    createdSeconds: Math.floor(deps.clock.nowMs() / 1_000),
    model: model.model.id,
    systemFingerprint: 'fp_colonnade',
    includeUsage: request.includeUsage,
    serviceTier: toServedTier(request.serviceTier),
    logprobs: request.logprobs,
    echo: request.echo,
    prompts: request.prompts,
    n: request.n,
    receipt,
  }
  if (request.stream) {
    const encode = createCompletionEncoder(options)
    await streamAnswer({ exchange, parts, encode, keepAlive: keepAliveComment, clock: deps.clock })
    return
  }
  const body = await gatherCompletion(parts, options)
  await exchange.send(200, { 'content-type': 'application/json' }, body)
}
