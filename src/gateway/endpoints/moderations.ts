/** Moderation: by a model that answers with categories, or by a guard model that is asked about each input (engines/protocol/guard). */
import { sizeInput } from '../../billing/estimate.ts'
import type { ModerationResult } from '../../engines/engine.ts'
import { assert } from '../../platform/assert.ts'
import { parseBoundedJson } from '../../platform/http/json-limits.ts'
import { defineEndpoint } from '../endpoint.ts'
import { moderationsDoc } from '../openapi/operations/moderations.ts'
import { parseModerationRequest, renderModerations } from '../wire/openai/moderations.ts'
import type { Work } from '../work.ts'

/** A guard's verdict with its categories; some are asked several times about one input. */
const verdictTokensMax = 128
const questionsPerInputMax = 5
/** The policy that a guard's template puts before each question. */
const policyTokensMax = 1_024
/** What OpenAI's clients send where nobody chose a model. */
const usualNames = /^(omni|text)-moderation-/

export const moderations = defineEndpoint({
  path: '/v1/moderations',
  doc: moderationsDoc,

  parse: (bytes) => toModerationWork(parseBoundedJson(bytes)),

  async respond({ exchange, model, parts }) {
    let results: readonly ModerationResult[] | undefined
    for await (const part of parts) if (part.type === 'moderations') results = part.results
    assert(results, 'a moderation answer has results')
    const id = `modr-${exchange.requestId}`
    const body = renderModerations({ id, model: model.model.id, results })
    await exchange.send(200, { 'content-type': 'application/json' }, body)
  },
})

export function toModerationWork(value: unknown): Work {
  const { model, input } = parseModerationRequest(value)
  const size = sizeInput({ input })
  return {
    endpoint: '/v1/moderations',
    modelName: model ?? '',
    acceptsOnlyModel: model === undefined || usualNames.test(model),
    streamed: false,
    tasks: [{ kind: 'moderation', input }],
    estimatedInputTokens: size.estimatedTokens,
    inputTokensMax: questionsPerInputMax * (size.tokensMax + input.length * policyTokensMax),
    longestTextBytes: Math.max(...input.map((text) => Buffer.byteLength(text))),
    choices: input.length,
    maxOutputTokens: verdictTokensMax,
  }
}
