/** The headers that are read and sent, each described once. */

interface HeaderDoc {
  readonly description: string
  readonly schema: Readonly<Record<string, unknown>>
  /** Whether an answer that names it always has it. */
  readonly isCertain?: boolean
}

const text = { type: 'string' }
const count = { type: 'string', pattern: '^\\d+$' }
const duration = { type: 'string', pattern: '^(\\d+ms|(\\d+h)?(\\d+m)?\\d+s)$' }

const limitHeader = (what: string, kind: string): HeaderDoc => ({
  description: `${what} of the limit on ${kind} that is nearest to its end.`,
  schema: count,
})
const momentHeader = (kind: string): HeaderDoc => ({
  description: `When the limit on ${kind} is whole again, in RFC 3339.`,
  schema: { type: 'string', format: 'date-time' },
})
const resetHeader = (kind: string): HeaderDoc => ({
  description: `When the limit on ${kind} is whole again, as a duration: \`120ms\`, \`1s\`, \`6m0s\`.`,
  schema: duration,
})

const headers = {
  'x-request-id': {
    description: 'Names the request in logs, receipts and the usage that is billed.',
    schema: { type: 'string', pattern: '^req_\\w+$' },
    isCertain: true,
  },
  'request-id': {
    description: 'The same, as Anthropic’s clients read it.',
    schema: { type: 'string', pattern: '^req_\\w+$' },
    isCertain: true,
  },
  'openai-version': {
    description: 'The version of OpenAI’s API that is spoken.',
    schema: { const: '2020-10-01' },
    isCertain: true,
  },
  'x-content-type-options': {
    description: 'Answers are what they say.',
    schema: { const: 'nosniff' },
    isCertain: true,
  },
  'openai-processing-ms': {
    description: 'Milliseconds from the arrival of the request to the head of the answer.',
    schema: count,
    isCertain: true,
  },
  'x-ratelimit-limit-requests': limitHeader('The size', 'requests'),
  'x-ratelimit-remaining-requests': limitHeader('What is left', 'requests'),
  'x-ratelimit-reset-requests': resetHeader('requests'),
  'x-ratelimit-limit-tokens': limitHeader('The size', 'tokens'),
  'x-ratelimit-remaining-tokens': limitHeader('What is left', 'tokens'),
  'x-ratelimit-reset-tokens': resetHeader('tokens'),
  'anthropic-ratelimit-requests-limit': limitHeader('The size', 'requests'),
  'anthropic-ratelimit-requests-remaining': limitHeader('What is left', 'requests'),
  'anthropic-ratelimit-requests-reset': momentHeader('requests'),
  'anthropic-ratelimit-tokens-limit': limitHeader('The size', 'tokens of any kind'),
  'anthropic-ratelimit-tokens-remaining': limitHeader('What is left', 'tokens of any kind'),
  'anthropic-ratelimit-tokens-reset': momentHeader('tokens of any kind'),
  'anthropic-ratelimit-input-tokens-limit': limitHeader('The size', 'input tokens'),
  'anthropic-ratelimit-input-tokens-remaining': limitHeader('What is left', 'input tokens'),
  'anthropic-ratelimit-input-tokens-reset': momentHeader('input tokens'),
  'anthropic-ratelimit-output-tokens-limit': limitHeader('The size', 'output tokens'),
  'anthropic-ratelimit-output-tokens-remaining': limitHeader('What is left', 'output tokens'),
  'anthropic-ratelimit-output-tokens-reset': momentHeader('output tokens'),
  'x-receipt': {
    description:
      'A signed receipt of a whole answer, for a request that asked for one with `x-receipt: true`.',
    schema: { type: 'string', pattern: '^[\\w-]+\\.[\\w-]+\\.[\\w-]+$' },
  },
  'idempotency-replayed': {
    description: 'The request was a repetition of an earlier one with the same key.',
    schema: { const: 'true' },
  },
  'cache-control': { description: 'Whether the answer may be kept.', schema: text },
  'x-accel-buffering': {
    description: 'Asks proxies to pass each event on at once.',
    schema: { const: 'no' },
    isCertain: true,
  },
  'x-rerank-method': {
    description: 'By a reranking model, or by the vectors of one that only embeds.',
    schema: { enum: ['model', 'cosine'] },
    isCertain: true,
  },
  'x-token-count': {
    description: 'Whether an engine of the model has counted, or our estimate stands in.',
    schema: { enum: ['exact', 'estimated'] },
    isCertain: true,
  },
  'content-disposition': {
    description: 'Content of files is for saving, not for showing.',
    schema: { const: 'attachment' },
    isCertain: true,
  },
  'content-security-policy': {
    description: 'The page loads nothing from elsewhere.',
    schema: text,
    isCertain: true,
  },
  etag: {
    description: 'Changes with the content.',
    schema: { type: 'string', pattern: '^"[\\w-]+"$' },
    isCertain: true,
  },
  'www-authenticate': {
    description: 'How to bring a key.',
    schema: { const: 'Bearer' },
    isCertain: true,
  },
  upgrade: {
    description: 'What is spoken at this address.',
    schema: { const: 'websocket' },
    isCertain: true,
  },
  'retry-after': {
    description: 'Whole seconds after which the same request may pass.',
    schema: { type: 'string', pattern: '^[1-9]\\d*$' },
  },
  'retry-after-ms': {
    description: 'The same in milliseconds.',
    schema: count,
  },
  'x-should-retry': {
    description: 'Repeating the request does not help.',
    schema: { const: 'false' },
  },
} as const satisfies Readonly<Record<string, HeaderDoc>>
export type HeaderName = keyof typeof headers

/** Those of every answer of the API itself. */
export const commonHeaders: readonly HeaderName[] = [
  'x-request-id',
  'request-id',
  'openai-processing-ms',
  'openai-version',
  'x-content-type-options',
]

/** Those of whatever is metered: on a success, and on a refusal that came after the limits were looked at. */
export const meteredHeaders: readonly HeaderName[] = [
  'x-ratelimit-limit-requests',
  'x-ratelimit-remaining-requests',
  'x-ratelimit-reset-requests',
  'x-ratelimit-limit-tokens',
  'x-ratelimit-remaining-tokens',
  'x-ratelimit-reset-tokens',
  'x-receipt',
  'idempotency-replayed',
]

/** Those that Anthropic's clients read besides. */
export const anthropicMeteredHeaders: readonly HeaderName[] = [
  'anthropic-ratelimit-requests-limit',
  'anthropic-ratelimit-requests-remaining',
  'anthropic-ratelimit-requests-reset',
  'anthropic-ratelimit-tokens-limit',
  'anthropic-ratelimit-tokens-remaining',
  'anthropic-ratelimit-tokens-reset',
  'anthropic-ratelimit-input-tokens-limit',
  'anthropic-ratelimit-input-tokens-remaining',
  'anthropic-ratelimit-input-tokens-reset',
  'anthropic-ratelimit-output-tokens-limit',
  'anthropic-ratelimit-output-tokens-remaining',
  'anthropic-ratelimit-output-tokens-reset',
]

export const streamHeaders: readonly HeaderName[] = ['cache-control', 'x-accel-buffering']

const retryHeaders: readonly HeaderName[] = ['retry-after', 'retry-after-ms', 'x-should-retry']
export function errorHeaderNames(status: number): readonly HeaderName[] {
  if (status === 401) return ['www-authenticate']
  return status === 426 ? ['upgrade'] : retryHeaders
}

const parameters = {
  'idempotency-key': {
    description:
      'Any text of your own, such as a UUID. All repetitions of one request together are charged no more than the dearest of them; what a request creates is created once, and its repetitions get it. Kept for 24 hours.',
    schema: { type: 'string', minLength: 1, maxLength: 255, pattern: '^[\\x21-\\x7e]+$' },
  },
  'x-receipt': {
    description:
      '`true` asks for a signed receipt of what was charged, in the header `x-receipt` of a whole answer, and within the last events of a stream.',
    schema: { type: 'string' },
  },
  'x-on-limit': {
    description:
      '`clamp`: where a limit leaves less than the request may take, the answer is made shorter, and says so in `limit`, instead of being refused.',
    schema: { type: 'string' },
  },
  'x-client-request-id': {
    description: 'Your own name for the request; it stands in the operator’s log beside ours.',
    schema: { type: 'string', maxLength: 512 },
  },
  'anthropic-version': {
    description: 'Taken and passed over: there is one version.',
    schema: { type: 'string' },
  },
  'anthropic-beta': {
    description: 'Taken and passed over.',
    schema: { type: 'string' },
  },
  'if-none-match': {
    description: 'The `etag` of what you have.',
    schema: { type: 'string' },
  },
} as const
export type ParameterName = keyof typeof parameters

export const keyedParameters: readonly ParameterName[] = ['x-client-request-id']
export const billedParameters: readonly ParameterName[] = [
  'idempotency-key',
  'x-receipt',
  'x-on-limit',
]

export function renderHeaderComponents(): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries<HeaderDoc>(headers).map(([name, { description, schema, isCertain }]) => [
      name,
      { description, required: isCertain === true, schema },
    ]),
  )
}

export function renderParameterComponents(): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(parameters).map(([name, { description, schema }]) => [
      name,
      { name, in: 'header', required: false, description, schema },
    ]),
  )
}

export function headerReferences(names: readonly HeaderName[]): Record<string, unknown> {
  return Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]))
}

export function parameterReferences(names: readonly ParameterName[]): readonly unknown[] {
  return names.map((name) => ({ $ref: `#/components/parameters/${name}` }))
}
