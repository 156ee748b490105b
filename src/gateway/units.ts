/** What a request takes beside tokens. Pure. */
import { isPriced } from '../billing/rating.ts'
import type { UsageUnits } from '../billing/usage.ts'
import { Fault } from '../platform/fault.ts'
import type { OfferedModel } from './stages/resolve-model.ts'
import type { Work } from './work.ts'

/** A reranking model has a price for the tokens that it reads, and none for input. Throws `catalog.price_missing`. */
export function unitsOf(
  work: Pick<Work, 'units'>,
  { model, price }: Pick<OfferedModel, 'model' | 'price'>,
  inputTokens: number,
): UsageUnits | undefined {
  const units =
    model.category === 'rerank' ? { ...work.units, rerankTokens: inputTokens } : work.units
  if (units === undefined || isPriced(price, units)) return units
  throw new Fault({
    code: 'catalog.price_missing',
    public: 'This model has no price for this use of it yet. Ask your provider to set one.',
    internal: `no price for ${Object.keys(units).join(', ')} of ${model.id} in ${price.version}`,
  })
}
