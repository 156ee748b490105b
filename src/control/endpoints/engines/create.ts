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
import { category, modelId } from '../../model-parameters.ts'
import { defineOperation } from '../../operation.ts'

const probeTimeoutMs = 5_000
const modelsMax = 200

const body = z.strictObject({
  url: z.string().min(1).max(2_000).describe('http://host:port, with or without /v1.'),
  kind: z
    .string()
    .max(50)
    .optional()
    .describe('Such as vllm or openai-compatible; found out when left out.'),
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
    .max(4_000)
    .optional()
    .describe('Bearer token for the engine; kept sealed.'),
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
    },
  }),
  async handle({ body: wish }, { tx, deps }) {
    const baseUrl = parseEngineUrl(wish.url)
    const { kind, offered, tasks } = await probe(wish, baseUrl, deps)
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
        baseUrl,
        engineModel,
        sealKey: wish.key === undefined ? undefined : sealKey(wish.key, deps.seal),
      })
      data.push({ id: replicaId, modelId: id, engineModel, engineKind: kind })
    }
    return { data }
  },
})

/** Keeps origin and path: `http://host:8000/v1/` and `http://host:8000` are the same engine. */
export function parseEngineUrl(text: string): string {
  const url = URL.parse(text)
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw invalid('url', 'Give an address such as http://127.0.0.1:8000.')
  }
  if (url.username !== '' || url.password !== '') {
    throw invalid('url', 'Give the key by itself, not inside the address.')
  }
  return url.origin + url.pathname.replace(/\/+$/, '').replace(/\/v1$/, '')
}

interface Probed {
  readonly kind: string
  readonly offered: readonly string[]
  readonly tasks: ReadonlySet<TaskKind>
}

async function probe(wish: Body, baseUrl: string, deps: EngineDeps): Promise<Probed> {
  const address = { baseUrl, apiKey: wish.key }
  const signal = AbortSignal.timeout(probeTimeoutMs)
  const kind = wish.kind ?? (await deps.detectKind(address, signal))
  if (kind === undefined) throw silent(baseUrl)
  const adapter = deps.findAdapter(kind)
  if (!adapter) throw invalid('kind', `"${kind}" is no kind of engine that is known here.`)
  const engine = adapter.connect(address)
  try {
    const offered = await engine.listModels(signal)
    return { kind, offered, tasks: engine.capabilities.tasks }
  } catch (error) {
    throw silent(baseUrl, error)
  } finally {
    await engine.close()
  }
}

function silent(baseUrl: string, cause?: unknown): Fault {
  return new Fault({
    code: 'upstream.unreachable',
    public: `No engine listed its models at ${baseUrl} within 5 seconds. Check that it runs, and that its key is right.`,
    internal: cause instanceof Error ? cause.message : undefined,
    cause,
  })
}

function chooseModels(wish: Body, offered: readonly string[]): readonly string[] {
  const chosen = wish.models ?? offered
  const missing = chosen.find((name) => !offered.includes(name))
  const list = offered.slice(0, 20).join(', ') || 'none'
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
