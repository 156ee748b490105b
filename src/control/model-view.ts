/** A model as the control API shows it: the catalogue's facts, its prices in force, and what runs it. */
import { z } from 'zod'
import {
  currentPrices,
  lifecyclePhases,
  listAliases,
  modelCategories,
  priceUnits,
  type Model,
  type Price,
} from '../catalog/catalog.ts'
import { verdicts } from '../conformance/run.ts'
import { listDeployedModels, listReplicas, replicaStates, type Replica } from '../fleet/fleet.ts'
import { assert } from '../platform/assert.ts'
import type { Sql } from '../platform/postgres/database.ts'

export const priceView = z.object({
  priceListId: z.string(),
  currency: z.string(),
  modelId: z.string(),
  unit: z.enum(priceUnits),
  amountNanos: z.string().describe('Nano-units of the currency for one unit, as a decimal string.'),
  effectiveFrom: z.string(),
})

export const conformanceView = z.object({
  verdict: z.enum(verdicts),
  date: z.string(),
  suiteVersion: z.string(),
  passed: z.number(),
  failed: z.number(),
  skipped: z.number(),
  engineKinds: z.array(z.string()).describe('Of the engines that served the model then.'),
})

export const modelView = z.object({
  id: z.string(),
  publisher: z.string().nullable(),
  category: z.enum(modelCategories),
  contextWindowTokens: z.number().nullable(),
  capabilities: z.array(z.string()),
  licence: z.string().nullable(),
  tags: z.array(z.string()),
  phase: z.enum(lifecyclePhases),
  productionSince: z.string().nullable(),
  endOfSupport: z.string().nullable(),
  longTermSupport: z.boolean(),
  successor: z.string().nullable(),
  facts: z.record(z.string(), z.unknown()),
  weightSources: z.array(z.string()),
  weightSha256: z.string().nullable(),
  weightBytes: z.number().nullable(),
  enabled: z.boolean(),
  conformance: conformanceView
    .nullable()
    .describe('How it did when it was last checked; null when it never was.'),
  deployed: z.boolean().describe('Whether it shall run on a node of ours.'),
  aliases: z.array(z.string()),
  state: z.enum(replicaStates).nullable().describe('Of its best replica; null when it has none.'),
  detail: z.string().nullable(),
  progress: z.number().nullable(),
  prices: z.array(priceView),
})
export type ModelView = z.infer<typeof modelView>

/** Best first. */
const stateOrder = ['ready', 'starting', 'pulling', 'pending', 'failed', 'stopped'] as const
/** Replicas of one page of models. */
const replicasMax = 1_000

export async function viewModels(
  tx: Sql<unknown>,
  models: readonly Model[],
  nowMs: number,
): Promise<ModelView[]> {
  const modelIds = models.map((model) => model.id)
  const prices = await currentPrices(tx, modelIds)
  const aliases = await listAliases(tx)
  const deployed = new Set(await listDeployedModels(tx))
  const replicas = await listReplicas(tx, { modelIds, limit: replicasMax }, nowMs)
  return models.map((model) => {
    const best = bestReplica(replicas.filter((replica) => replica.modelId === model.id))
    return {
      ...model,
      capabilities: [...model.capabilities],
      tags: [...model.tags],
      facts: { ...model.facts },
      weightSources: [...model.weightSources],
      conformance: model.conformance && {
        ...model.conformance,
        engineKinds: [...model.conformance.engineKinds],
      },
      deployed: deployed.has(model.id),
      aliases: aliases.filter((alias) => alias.modelId === model.id).map(({ alias }) => alias),
      state: best?.state ?? null,
      detail: best?.detail ?? null,
      progress: best?.progress ?? null,
      prices: prices.filter((price) => price.modelId === model.id).map(viewPrice),
    }
  })
}

export async function viewModel(tx: Sql<unknown>, model: Model, nowMs: number): Promise<ModelView> {
  const [view] = await viewModels(tx, [model], nowMs)
  assert(view, 'one model has one view')
  return view
}

function bestReplica(replicas: readonly Replica[]): Replica | undefined {
  return replicas.toSorted((a, b) => stateOrder.indexOf(a.state) - stateOrder.indexOf(b.state))[0]
}

export function viewPrice(price: Price): z.infer<typeof priceView> {
  return {
    priceListId: price.priceListId,
    currency: price.currency,
    modelId: price.modelId,
    unit: price.unit,
    amountNanos: String(price.amountNanos),
    effectiveFrom: new Date(price.effectiveFromMs).toISOString(),
  }
}
