/** How the mock engine behaves, chosen by the name of the model: `mock` is honest, each other one has a fault of its own. */

/** What happens to an answer in the middle of it. */
export type Accident = 'reset' | 'close' | 'stall' | 'garbage' | 'huge-event'

/** What an engine says about an answer of so many tokens, instead of the truth. */
export type UsageLie = 'missing' | 'negative' | 'huge' | 'decreasing'

export interface Behaviour {
  readonly refusesWith?: 429 | 503
  readonly answersHtml?: true
  readonly accident?: Accident
  /** The accident happens after so many tokens, or after the last one of a shorter answer. */
  readonly accidentAfterTokens?: number
  readonly usage?: UsageLie
  readonly firstTokenMs?: number
  readonly kind?: 'reasoning' | 'tools'
}

export const retryAfterS = 2
export const hugeEventBytes = 2 * 1024 * 1024
const slowStartMs = 3_000
const early = 3

export const behaviours: ReadonlyMap<string, Behaviour> = new Map<string, Behaviour>([
  ['mock', {}],
  ['mock-die-midstream', { accident: 'reset', accidentAfterTokens: early }],
  ['mock-no-done', { accident: 'close', accidentAfterTokens: Infinity }],
  ['mock-stall', { accident: 'stall', accidentAfterTokens: early }],
  ['mock-garbage', { accident: 'garbage', accidentAfterTokens: early }],
  ['mock-huge-event', { accident: 'huge-event', accidentAfterTokens: early }],
  ['mock-html', { answersHtml: true }],
  ['mock-429', { refusesWith: 429 }],
  ['mock-503', { refusesWith: 503 }],
  ['mock-slow-start', { firstTokenMs: slowStartMs }],
  ['mock-usage-missing', { usage: 'missing' }],
  ['mock-usage-negative', { usage: 'negative' }],
  ['mock-usage-huge', { usage: 'huge' }],
  ['mock-decreasing-usage', { usage: 'decreasing' }],
  ['mock-reasoning', { kind: 'reasoning' }],
  ['mock-tools', { kind: 'tools' }],
])
