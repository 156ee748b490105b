import { z } from 'zod'
import type { EngineAdapter, EngineLoad } from '../../../engines/engine.ts'
import { listReplicas, replicaStates, type Replica } from '../../../fleet/fleet.ts'
import type { Clock } from '../../../platform/clock.ts'
import { defineOperation } from '../../operation.ts'
import { pageQuery } from '../../page.ts'

/** For people who wait for a list: an engine that takes longer is shown without its load. */
const loadTimeoutMs = 1_000
const enginesAskedMax = 100

const query = pageQuery.extend({
  modelId: z.string().min(1).max(200).optional(),
  load: z
    .stringbool()
    .default(false)
    .describe(`Ask the first ${enginesAskedMax} engines of the page for their load, too.`),
})
const engineLoad = z.object({
  runningRequests: z.number().nullable(),
  waitingRequests: z.number().nullable(),
  kvCacheUsage: z.number().nullable().describe('0 to 1.'),
})
const engineView = z.object({
  id: z.string(),
  modelId: z.string(),
  nodeName: z.string().nullable().describe('null for an engine that somebody else runs.'),
  engineKind: z.string(),
  engineModel: z.string().describe('The name that the engine itself gives the model.'),
  baseUrl: z.string().nullable(),
  location: z
    .string()
    .nullable()
    .describe("Where prompts go: 'local' for machines of our own; null serves nobody."),
  operator: z.string().describe("Who runs it: 'own', or a provider."),
  settings: z.record(z.string(), z.string()),
  state: z.enum(replicaStates),
  detail: z.string().nullable(),
  progress: z.number().nullable(),
  stale: z.boolean().describe('Its node is silent; the state is the last that was heard.'),
  updatedAt: z.string(),
  load: engineLoad
    .nullable()
    .describe('null when it was not asked for, or the engine does not tell.'),
})
const result = z.object({ data: z.array(engineView), hasMore: z.boolean() })

export const listEngines = defineOperation<
  {
    readonly clock: Clock
    readonly findAdapter: (kind: string) => EngineAdapter | undefined
  },
  unknown,
  z.infer<typeof query>,
  unknown,
  z.infer<typeof result>
>({
  id: 'engines.list',
  method: 'GET',
  path: '/engines',
  permission: 'fleet:read',
  summary: 'List the engines that serve models, with their states',
  query,
  result,
  async handle({ query: { after, limit, modelId, load } }, { tx, deps }) {
    const modelIds = modelId === undefined ? undefined : [modelId]
    const found = await listReplicas(tx, { modelIds, after, limit: limit + 1 }, deps.clock.nowMs())
    const page = found.slice(0, limit)
    const loads = load ? await readLoads(page, deps.findAdapter) : new Map()
    const data = page.map(({ updatedAtMs, ...replica }) => ({
      ...replica,
      updatedAt: new Date(updatedAtMs).toISOString(),
      load: loads.get(replica.baseUrl) ?? null,
    }))
    return { data, hasMore: found.length > limit }
  },
})

type Load = z.infer<typeof engineLoad>

/** By address, each engine once, all at the same time. Without keys: what an engine tells only to those who have its key is not shown. */
async function readLoads(
  replicas: readonly Replica[],
  findAdapter: (kind: string) => EngineAdapter | undefined,
): Promise<ReadonlyMap<string | null, Load>> {
  const ready = replicas.filter(({ state, baseUrl }) => state === 'ready' && baseUrl !== null)
  const kinds = new Map(ready.map(({ baseUrl, engineKind }) => [baseUrl, engineKind]))
  const loads = [...kinds].slice(0, enginesAskedMax).map(async ([baseUrl, kind]) => {
    const adapter = findAdapter(kind)
    return [baseUrl, adapter && baseUrl ? await readLoad(adapter, baseUrl) : undefined] as const
  })
  const told = await Promise.all(loads)
  return new Map(told.flatMap(([baseUrl, load]) => (load ? [[baseUrl, load] as const] : [])))
}

async function readLoad(adapter: EngineAdapter, baseUrl: string): Promise<Load | undefined> {
  // Providers tell no load, and nothing to those who have no key.
  if (adapter.provider) return undefined
  const engine = adapter.connect({ baseUrl })
  try {
    const load = await engine.readLoad?.(AbortSignal.timeout(loadTimeoutMs))
    return load && isTold(load) ? toView(load) : undefined
  } catch {
    // An engine that does not answer has a state that says so; its load is unknown.
    return undefined
  } finally {
    await engine.close()
  }
}

function isTold(load: EngineLoad): boolean {
  return Object.values(load).some((value) => value !== undefined)
}

function toView({ runningRequests, waitingRequests, kvCacheUsage }: EngineLoad): Load {
  return {
    runningRequests: runningRequests ?? null,
    waitingRequests: waitingRequests ?? null,
    kvCacheUsage: kvCacheUsage ?? null,
  }
}
