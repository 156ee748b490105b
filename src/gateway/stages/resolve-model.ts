/** Name → the model that this caller may use, with the price that holds for the whole request. */
import type { PinnedPrice } from '../../billing/usage.ts'
import { canDo } from '../../catalog/abilities.ts'
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
  work: Pick<Work, 'modelName' | 'tasks'>,
  deps: Pick<GatewayDeps, 'catalogue' | 'clock'>,
  terms?: Terms,
): OfferedModel {
  const model = deps.catalogue().resolve(work.modelName)
  // A model that the key may not use answers exactly like one that does not exist.
  if (!model || !mayUse(caller, model, work.modelName)) throw modelNotFound()
  const task = work.tasks.find((candidate) => canDo(model, candidate.kind))
  if (!task) throw capabilityMissing(work.tasks[0].kind, model, deps)
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

/** Names what is missing and how to come by it: a model of this caller's that has it, or what an operator adds. */
function capabilityMissing(
  kind: TaskKind,
  model: CatalogModel,
  deps: Pick<GatewayDeps, 'catalogue'>,
): Fault {
  const isOffered = deps
    .catalogue()
    .list()
    .some((other) => canDo(other, kind))
  const remedy = isOffered
    ? 'GET /v1/models lists the models that do, by their capabilities.'
    : `No model here does: an operator adds an engine that does with 'colonnade engine add'.`
  return new Fault({
    code: 'catalog.capability_missing',
    public: `The model ${model.id} does not do ${taskNames[kind]}. ${remedy}`,
    param: 'model',
    details: { capability: kind },
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
