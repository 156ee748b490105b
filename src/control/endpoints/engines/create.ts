/** Connects an engine that somebody else runs. Operators only: the call makes this server speak to an address of their choice. */
import { z } from 'zod'
import { canDo } from '../../../catalog/abilities.ts'
import {
  addModel,
  enableModel,
  findModel,
  guessCategory,
  modelCategories,
  type ModelCategory,
} from '../../../catalog/catalog.ts'
import type { EngineAdapter, EngineAddress, TaskKind } from '../../../engines/engine.ts'
import { addExternalEngine } from '../../../fleet/fleet.ts'
import { Fault } from '../../../platform/fault.ts'
import type { Seal } from '../../../platform/seal.ts'
import type { Sql } from '../../../platform/postgres/database.ts'
import { toTarget, type EngineTarget } from '../../engine-target.ts'
import { category, modelId } from '../../model-parameters.ts'
import { defineOperation } from '../../operation.ts'
import { location } from '../../residency-parameters.ts'

const probeTimeoutMs = 5_000
const modelsMax = 200
const keyLengthMax = 16_000

const body = z.strictObject({
  url: z
    .string()
    .min(1)
    .max(2_000)
    .optional()
    .describe("http://host:port, with or without /v1. A provider's own when left out."),
  kind: z
    .string()
    .max(50)
    .optional()
    .describe('Such as vllm, openai-compatible or anthropic; found out when left out.'),
  models: z
    .array(z.string().min(1).max(200))
    .min(1)
    .max(modelsMax)
    .optional()
    .describe('Models of the engine to offer; all when left out.'),
  name: modelId
    .optional()
    .describe('The id that the one model gets here; its own name when left out.'),
  key: z
    .string()
    .min(1)
    .max(keyLengthMax)
    .optional()
    .describe(
      'Key for the engine; kept sealed, and never shown. Google: the JSON key file of a service account. AWS: ACCESS_KEY_ID:SECRET[:SESSION_TOKEN].',
    ),
  settings: z
    .record(z.string().max(50), z.string().max(200))
    .default({})
    .describe('What a provider needs to know beside, none of it secret: region, apiVersion …'),
  location: location
    .optional()
    .describe(
      "Where prompts go: 'local' for a machine of our own (the default over plain HTTP), else the country or region, such as FR or EU. Tenants are served as far as they allow it.",
    ),
  category: category.optional().describe('Guessed from the names when left out.'),
  unpriced: z
    .boolean()
    .default(false)
    .describe('Take no price over; the models are refused until one is set.'),
})
type Body = z.infer<typeof body>

const result = z.object({
  data: z.array(
    z.object({
      id: z.string(),
      modelId: z.string(),
      engineModel: z.string(),
      engineKind: z.string(),
      location: z.string(),
      operator: z.string(),
    }),
  ),
})

interface EngineDeps {
  readonly seal: Seal
  readonly findAdapter: (kind: string) => EngineAdapter | undefined
  /** The kind of the server at an address; `undefined` when it is no engine that is known here. */
  readonly detectKind: (address: EngineAddress, signal: AbortSignal) => Promise<string | undefined>
}

export const createEngine = defineOperation<
  EngineDeps,
  unknown,
  unknown,
  Body,
  z.infer<typeof result>
>({
  id: 'engines.create',
  method: 'POST',
  path: '/engines',
  permission: 'fleet:write',
  summary: 'Connect a server that speaks a known dialect, and offer its models',
  body,
  result,
  audit: (input, { data }) => ({
    resource: data.map((engine) => engine.id).join(' '),
    details: {
      kind: data[0]?.engineKind,
      models: data.map((engine) => engine.modelId),
      withKey: input.body.key !== undefined,
      location: data[0]?.location,
      operator: data[0]?.operator,
      settings: input.body.settings,
    },
  }),
  async handle({ body: wish }, { tx, deps }) {
    const { kind, offered, tasks, target } = await probe(wish, deps)
    const { address, location: place, operator } = target
    const chosen = chooseModels(wish, offered)
    const data = []
    for (const engineModel of chosen) {
      const id = wish.name ?? engineModel
      await offerModel(tx, id, {
        category: wish.category ?? categoryOf(id, tasks),
        unpriced: wish.unpriced,
      })
      const replicaId = await addExternalEngine(tx, {
        modelId: id,
        engineKind: kind,
        baseUrl: address.baseUrl,
        engineModel,
        location: place,
        operator,
        settings: wish.settings,
        sealKey: wish.key === undefined ? undefined : sealKey(wish.key, deps.seal),
      })
      const replica = { id: replicaId, modelId: id, engineModel, engineKind: kind }
      data.push({ ...replica, location: place, operator })
    }
    return { data }
  },
})

interface Probed {
  readonly kind: string
  readonly target: EngineTarget
  /** `undefined` where the list does not say what can be asked for. */
  readonly offered: readonly string[] | undefined
  readonly tasks: ReadonlySet<TaskKind>
}

/** Asks what costs nothing, so that a wrong address or key shows now, and not with the first request. */
async function probe(wish: Body, deps: EngineDeps): Promise<Probed> {
  const signal = AbortSignal.timeout(probeTimeoutMs)
  const named = wish.kind === undefined ? undefined : findKnown(wish.kind, deps)
  const target = toTarget(wish, named)
  const { address } = target
  const adapter = named ?? findKnown(await detect(address, signal, deps), deps)
  const { kind, provider } = adapter
  const engine = adapter.connect(address)
  try {
    const { tasks } = engine.capabilities
    const listed = await engine.listModels(signal)
    const offered = provider && !provider.listsAllModels ? undefined : listed
    return { kind, target, offered, tasks }
  } catch (error) {
    // An endpoint that was scaled to nothing wakes up with the first request.
    const isBusy = error instanceof Fault && error.code.startsWith('capacity.')
    const { tasks } = engine.capabilities
    if (provider && isBusy) return { kind, target, offered: undefined, tasks }
    throw silent(address.baseUrl, error)
  } finally {
    await engine.close()
  }
}

function findKnown(kind: string, deps: EngineDeps): EngineAdapter {
  const adapter = deps.findAdapter(kind)
  if (!adapter) throw invalid('kind', `"${kind}" is no kind of engine that is known here.`)
  return adapter
}

async function detect(
  address: EngineAddress,
  signal: AbortSignal,
  deps: EngineDeps,
): Promise<string> {
  const kind = await deps.detectKind(address, signal)
  if (kind === undefined) throw silent(address.baseUrl)
  return kind
}

function silent(baseUrl: string, cause?: unknown): Fault {
  return new Fault({
    code: 'upstream.unreachable',
    public: `No engine listed its models at ${baseUrl} within 5 seconds. Check that it runs, and that its key is right.`,
    internal: cause instanceof Error ? cause.message : undefined,
    cause,
  })
}

function chooseModels(wish: Body, offered: readonly string[] | undefined): readonly string[] {
  const chosen = wish.models ?? offered ?? []
  const missing = offered && chosen.find((name) => !offered.includes(name))
  const list = (offered ?? chosen).slice(0, 20).join(', ') || 'none'
  if (missing !== undefined) {
    throw invalid('models', `The engine does not offer "${missing}". It offers: ${list}.`)
  }
  if (chosen.length === 0) throw invalid('url', 'The engine answers, but offers no model.')
  if (chosen.length > modelsMax) {
    throw invalid(
      'models',
      `The engine offers ${chosen.length} models. Name those that you want, at most ${modelsMax}.`,
    )
  }
  if (wish.name !== undefined && chosen.length > 1) {
    throw invalid('name', `A name is for one model. Choose one with "models": ${list}.`)
  }
  const unfit = wish.name === undefined && chosen.find((name) => !modelId.safeParse(name).success)
  if (unfit) throw invalid('name', `"${unfit}" cannot be an id here. Give the model a name.`)
  return chosen
}

/** What the name says, unless the engine cannot do it: then the first category that it can serve. */
function categoryOf(name: string, tasks: ReadonlySet<TaskKind>): ModelCategory {
  const guessed = guessCategory(name)
  const served = [guessed, ...modelCategories].find((category) =>
    [...tasks].some((task) => canDo({ category, capabilities: [] }, task)),
  )
  return served ?? guessed
}

async function offerModel(
  tx: Sql<unknown>,
  id: string,
  wish: { readonly category: ModelCategory; readonly unpriced: boolean },
): Promise<void> {
  const pricing = { unpriced: wish.unpriced }
  if (await findModel(tx, id)) {
    await enableModel(tx, id, pricing)
    return
  }
  const facts = {
    contextWindowTokens: null,
    capabilities: [],
    weightSources: [],
    weightSha256: null,
  }
  await addModel(tx, { id, category: wish.category, ...facts }, pricing)
}

function sealKey(key: string, seal: Seal): (context: string) => Buffer {
  return (context) => seal.seal(Buffer.from(key), context)
}

function invalid(param: string, text: string): Fault {
  return new Fault({ code: 'client.invalid_request', public: text, param })
}
