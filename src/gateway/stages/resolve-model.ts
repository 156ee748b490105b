/** Name → the model that this caller may use, with the price that holds for the whole request. */
import type { PinnedPrice } from '../../billing/usage.ts'
import { canDo, tasksOf } from '../../catalog/abilities.ts'
import type { CatalogModel } from '../../catalog/catalogue.ts'
import type { EngineTask, TaskKind } from '../../engines/engine.ts'
import type { Principal } from '../../identity/principal.ts'
import { Fault } from '../../platform/fault.ts'
import type { GatewayDeps } from '../deps.ts'
import type { Work } from '../work.ts'

export interface OfferedModel {
  readonly model: CatalogModel
  readonly price: PinnedPrice
  /** What the model will be asked for: the first of the work's tasks that it can do. */
  readonly task: EngineTask
}

/** What holds for a request beside the price list. */
export interface Terms {
  /** Hundredths of a percent off, as for batches. */
  readonly discountBasisPoints: number
}

export function resolveModel(
  caller: Principal,
  work: Pick<Work, 'modelName' | 'acceptsOnlyModel' | 'tasks' | 'needs'>,
  deps: Pick<GatewayDeps, 'catalogue' | 'clock'>,
  terms?: Terms,
): OfferedModel {
  const model = findModel(caller, work, deps)
  const task = work.tasks.find((candidate) => canDo(model, candidate.kind))
  if (!task) {
    const { kind } = work.tasks[0]
    const words = `do ${taskNames[kind]}`
    const isMetBy = (other: CatalogModel): boolean => canDo(other, kind)
    const missing = { capability: kind, words, param: 'model', isMetBy }
    throw capabilityMissing(missing, model, { caller, deps })
  }
  // Only what a model would pass over in silence: many models that operators add name no capabilities at all, so tools and the like are
  // left to the engine, which refuses or not; but a picture that is not looked at makes an answer about nothing.
  const need = work.needs?.find(({ capability }) => !model.capabilities.includes(capability))
  if (need) {
    const { capability } = need
    const words = `take ${needNames[capability] ?? capability}`
    const isMetBy = (other: CatalogModel): boolean => other.capabilities.includes(capability)
    throw capabilityMissing({ ...need, words, isMetBy }, model, { caller, deps })
  }
  const price = deps.catalogue().priceOf(caller.priceListId, model.id, deps.clock.nowMs())
  if (!price) {
    throw new Fault({
      code: 'catalog.price_missing',
      public: 'This model has no price yet, so it cannot be used. Ask your provider to set one.',
      internal: `no price for ${model.id} in ${caller.priceListId}: colonnade model price ${model.id} --list ${caller.priceListId} --input … --output …`,
    })
  }
  return { model, price: terms ? { ...price, ...terms } : price, task }
}

function findModel(
  caller: Principal,
  work: Pick<Work, 'modelName' | 'acceptsOnlyModel' | 'tasks'>,
  deps: Pick<GatewayDeps, 'catalogue'>,
): CatalogModel {
  const model = deps.catalogue().resolve(work.modelName)
  if (model && mayUse(caller, model, work.modelName)) return model
  if (work.acceptsOnlyModel) return onlyModelFor(work.tasks, caller, deps)
  // A model that the key may not use answers exactly like one that does not exist.
  throw modelNotFound()
}

/** Among models that are made for the first task that has any. */
function onlyModelFor(
  tasks: Work['tasks'],
  caller: Principal,
  deps: Pick<GatewayDeps, 'catalogue'>,
): CatalogModel {
  const own = deps
    .catalogue()
    .list()
    .filter((model) => [model.id, ...model.aliases].some((name) => mayUse(caller, model, name)))
  for (const { kind } of tasks) {
    const [only, second] = own.filter((model) => tasksOf(model)[0] === kind)
    if (second) throw severalModels(kind)
    if (only) return only
  }
  throw new Fault({
    code: 'catalog.capability_missing',
    public: `No model that you may use does ${taskNames[tasks[0].kind]}. An operator adds an engine that does with 'colonnade engine add'.`,
    param: 'model',
    details: { capability: tasks[0].kind },
  })
}

function severalModels(kind: TaskKind): Fault {
  return new Fault({
    code: 'client.invalid_request',
    public: `Several models do ${taskNames[kind]}: name one in 'model'. GET /v1/models lists them.`,
    param: 'model',
  })
}

const taskNames: Readonly<Record<TaskKind, string>> = {
  chat: 'chat completions',
  completion: 'text completions',
  embedding: 'embeddings',
  rerank: 'reranking',
  moderation: 'moderation',
  transcription: 'transcription',
  speech: 'speech',
  image: 'images',
}

const needNames: Readonly<Record<string, string>> = {
  vision: 'images',
  audio: 'sounds',
  files: 'files',
}

/** Names what is missing and how to come by it: a model of this caller's that has it, or what an operator adds. */
function capabilityMissing(
  missing: {
    readonly capability: string
    /** What the model does not do, in words. */
    readonly words: string
    readonly param: string
    readonly isMetBy: (model: CatalogModel) => boolean
  },
  model: CatalogModel,
  { caller, deps }: { readonly caller: Principal; readonly deps: Pick<GatewayDeps, 'catalogue'> },
): Fault {
  const { capability, words, param, isMetBy } = missing
  const isOffered = deps
    .catalogue()
    .list()
    .some((other) => isMetBy(other) && mayUse(caller, other))
  const remedy = isOffered
    ? `GET /v1/models lists the models that have the capability '${capability}'.`
    : `No model that you may use does: an operator adds one that has the capability '${capability}'.`
  return new Fault({
    code: 'catalog.capability_missing',
    public: `The model ${model.id} does not ${words}. ${remedy}`,
    param,
    details: { capability },
  })
}

export function mayUse(caller: Principal, model: CatalogModel, nameUsed = model.id): boolean {
  const allowed = caller.allowedModels
  return allowed === undefined || allowed.includes(model.id) || allowed.includes(nameUsed)
}

export function modelNotFound(): Fault {
  return new Fault({
    code: 'catalog.model_not_found',
    public:
      'The model does not exist or you do not have access to it. GET /v1/models lists the models.',
    param: 'model',
  })
}
