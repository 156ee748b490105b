/** Connects an engine that somebody else runs. Operators only: the call makes this server speak to an address of their choice. */
import { z } from 'zod'
import { addModel, enableModel, findModel, guessCategory } from '../../../catalog/catalog.ts'
import type { EngineAdapter } from '../../../engines/engine.ts'
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
  kind: z.string().max(50).default('openai-compatible'),
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
  data: z.array(z.object({ id: z.string(), modelId: z.string(), engineModel: z.string() })),
})

interface EngineDeps {
  readonly seal: Seal
  readonly findAdapter: (kind: string) => EngineAdapter | undefined
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
      kind: input.body.kind,
      models: data.map((engine) => engine.modelId),
      withKey: input.body.key !== undefined,
    },
  }),
  async handle({ body: wish }, { tx, deps }) {
    const baseUrl = parseEngineUrl(wish.url)
    const offered = await probe(wish, baseUrl, deps)
    const chosen = chooseModels(wish, offered)
    const data = []
    for (const engineModel of chosen) {
      const id = wish.name ?? engineModel
      await offerModel(tx, id, wish)
      const replicaId = await addExternalEngine(tx, {
        modelId: id,
        engineKind: wish.kind,
        baseUrl,
        engineModel,
        sealKey: wish.key === undefined ? undefined : sealKey(wish.key, deps.seal),
      })
      data.push({ id: replicaId, modelId: id, engineModel })
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

async function probe(wish: Body, baseUrl: string, deps: EngineDeps): Promise<readonly string[]> {
  const adapter = deps.findAdapter(wish.kind)
  if (!adapter) throw invalid('kind', `"${wish.kind}" is no kind of engine that is known here.`)
  const engine = adapter.connect({ baseUrl, apiKey: wish.key })
  try {
    return await engine.listModels(AbortSignal.timeout(probeTimeoutMs))
  } catch (error) {
    throw new Fault({
      code: 'upstream.unreachable',
      public: `No engine answered GET /v1/models at ${baseUrl} within 5 seconds. Check that it runs, and that its key is right.`,
      internal: error instanceof Error ? error.message : undefined,
      cause: error,
    })
  } finally {
    await engine.close()
  }
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

async function offerModel(tx: Sql<unknown>, id: string, wish: Body): Promise<void> {
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
  await addModel(tx, { id, category: wish.category ?? guessCategory(id), ...facts }, pricing)
}

function sealKey(key: string, seal: Seal): (context: string) => Buffer {
  return (context) => seal.seal(Buffer.from(key), context)
}

function invalid(param: string, text: string): Fault {
  return new Fault({ code: 'client.invalid_request', public: text, param })
}
