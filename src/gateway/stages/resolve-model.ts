/** Name → the model that this caller may use, with the price that holds for the whole request. */
import type { PinnedPrice } from '../../billing/usage.ts'
import type { CatalogModel } from '../../catalog/catalogue.ts'
import type { Principal } from '../../identity/principal.ts'
import { Fault } from '../../platform/fault.ts'
import type { GatewayDeps } from '../deps.ts'
import type { Work } from '../work.ts'

export interface OfferedModel {
  readonly model: CatalogModel
  readonly price: PinnedPrice
}

export function resolveModel(
  caller: Principal,
  work: Pick<Work, 'modelName' | 'kind'>,
  deps: Pick<GatewayDeps, 'catalogue' | 'clock'>,
): OfferedModel {
  const model = deps.catalogue().resolve(work.modelName)
  // A model that the key may not use answers exactly like one that does not exist.
  if (!model || !mayUse(caller, model, work.modelName)) throw modelNotFound()
  if (model.category !== work.kind) {
    throw new Fault({
      code: 'catalog.capability_missing',
      public: `This model does not do ${work.kind === 'chat' ? 'chat completions' : 'embeddings'}. GET /v1/models lists the models.`,
      param: 'model',
    })
  }
  const price = deps.catalogue().priceOf(caller.priceListId, model.id, deps.clock.nowMs())
  if (!price) {
    throw new Fault({
      code: 'catalog.price_missing',
      public: 'This model has no price yet, so it cannot be used. Ask your provider to set one.',
      internal: `no price for ${model.id} in ${caller.priceListId}: colonnade model price ${model.id} --list ${caller.priceListId} --input … --output …`,
    })
  }
  return { model, price }
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
