/** What ships with the program: 58 models and two defaults that an operator can enable, and two price lists. Pure. */
import type { LifecyclePhase, ModelCategory, PriceUnit } from './catalogue.ts'
import shipped from './shipped-models.json' with { type: 'json' }

/** A row of `models`, in the database's spelling. */
export interface ShippedModel {
  readonly id: string
  readonly publisher: string | null
  readonly category: ModelCategory
  readonly context_window_tokens: number | null
  readonly capabilities: readonly string[]
  readonly licence: string | null
  readonly tags: readonly string[]
  readonly phase: LifecyclePhase
  readonly production_since: string | null
  readonly end_of_support: string | null
  readonly long_term_support: boolean
  readonly successor: string | null
  readonly facts: Readonly<Record<string, unknown>>
  readonly weight_sources: readonly string[]
  readonly weight_sha256: string | null
  readonly weight_bytes: number | null
}

export interface ShippedPriceList {
  readonly id: string
  readonly name: string
  readonly currency: string
  readonly source: string
  readonly classPrices: readonly {
    readonly category: ModelCategory
    readonly unit: PriceUnit
    readonly amountNanos: bigint
  }[]
}

/** How the source's headings read here. Vision, coding, safety and translation models are chat models with a speciality. */
const categories: Readonly<Record<string, ModelCategory>> = {
  'Modèles Chat & Raisonnement': 'chat',
  'Modèles Programmation & Agents': 'chat',
  'Modèles Vision & Multimodal': 'chat',
  'Modèles de Traduction': 'chat',
  "Modèles d'Embedding": 'embedding',
  'Modèles de Reranking': 'rerank',
  'Modèles de Sécurité': 'moderation',
}

const phases: Readonly<Record<string, LifecyclePhase>> = {
  Evaluation: 'evaluation',
  Production: 'production',
  Deprecated: 'deprecated',
  Retired: 'retired',
}

/**
 * Embeddings whose beginnings are embeddings too, as their publishers say: huggingface.co/Qwen/Qwen3-Embedding-0.6B ("MRL Support": yes, of all three
 * sizes) and ai.google.dev/gemma/docs/embeddinggemma (512, 256 or 128 of 768 dimensions). The source has no such column.
 */
const matryoshka = /^(qwen3-embedding|embeddinggemma):/

type SourceModel = (typeof shipped.models)[number]

export function shippedModels(): ShippedModel[] {
  return shipped.models.map((model) => ({
    id: model.id,
    publisher: model.publisher,
    category: categories[model.category] ?? audioOrImage(model),
    // The source writes 0 where the notion does not apply.
    context_window_tokens: model.contextWindowTokens || null,
    capabilities: capabilitiesOf(model),
    licence: model.licence,
    tags: model.tags,
    phase: phases[model.lifecycle.phase] ?? 'evaluation',
    production_since: model.lifecycle.productionSince,
    end_of_support: model.lifecycle.endOfSupport,
    long_term_support: model.lifecycle.lts,
    successor: model.lifecycle.successor,
    facts: {
      source: shipped.source,
      parameters: model.parameters,
      outputTokensPerSecond: model.outputTokensPerSecond,
      energyKwhPerMillionTokens: model.energyKwhPerMillionTokens,
      location: model.location,
    },
    weight_sources: [],
    weight_sha256: null,
    weight_bytes: null,
  }))
}

function capabilitiesOf({ id, capabilities }: SourceModel): readonly string[] {
  return matryoshka.test(id) ? [...capabilities, 'matryoshka'] : capabilities
}

/** Facts with a source came with the program; a model that an operator added has none. */
export function isShipped(facts: Readonly<Record<string, unknown>>): boolean {
  return 'source' in facts
}

/** A model that ships with a place to get its weights from. */
export interface DefaultModel {
  readonly id: string
  readonly publisher: string
  readonly category: ModelCategory
  readonly contextWindowTokens: number
  readonly licence: string
  readonly weightSources: readonly string[]
  readonly weightSha256: string | null
  readonly weightBytes: number | null
}

export function fromDefault(model: DefaultModel): ShippedModel {
  return {
    id: model.id,
    publisher: model.publisher,
    category: model.category,
    context_window_tokens: model.contextWindowTokens,
    capabilities: [],
    licence: model.licence,
    tags: ['Default'],
    phase: 'production',
    production_since: null,
    end_of_support: null,
    long_term_support: false,
    successor: null,
    facts: { source: 'default' },
    weight_sources: model.weightSources,
    weight_sha256: model.weightSha256,
    weight_bytes: model.weightBytes,
  }
}

/** The source has one heading for both; what can be heard has a context window, what is drawn has none. */
function audioOrImage(model: SourceModel): ModelCategory {
  return model.contextWindowTokens ? 'audio' : 'image'
}

/** Nano-euro for one token: 0.9 € per million tokens is 900. */
const seedPrices = { input_token: 900n, output_token: 4_000n, reasoning_token: 21_000n } as const
const publicPrices = {
  input_token: 1_800n,
  output_token: 8_000n,
  reasoning_token: 8_000n,
} as const

export const shippedPriceLists: readonly ShippedPriceList[] = [
  {
    id: 'standard',
    name: 'Standard',
    currency: 'EUR',
    source: 'input × 0.9 + output × 4 + reasoning × 21 euro per million tokens',
    classPrices: tokenPrices(seedPrices),
  },
  {
    id: 'public-2026',
    name: 'Public list 2026',
    currency: 'EUR',
    source:
      '1.8 / 8 / 8 euro per million input / output / reasoning tokens, rerank 4, audio 0.01 euro per started minute',
    classPrices: [
      ...tokenPrices(publicPrices),
      { category: 'rerank', unit: 'rerank_token', amountNanos: 4_000n },
      { category: 'audio', unit: 'audio_minute', amountNanos: 10_000_000n },
    ],
  },
]

/** Chat and moderation pay for both directions; embeddings have no output. */
function tokenPrices(
  nanos: Readonly<Record<'input_token' | 'output_token' | 'reasoning_token', bigint>>,
): ShippedPriceList['classPrices'] {
  const generating = (['chat', 'moderation'] as const).flatMap((category) =>
    (['input_token', 'output_token', 'reasoning_token'] as const).map((unit) => ({
      category,
      unit,
      amountNanos: nanos[unit],
    })),
  )
  return [
    ...generating,
    { category: 'embedding', unit: 'input_token', amountNanos: nanos.input_token },
  ]
}
