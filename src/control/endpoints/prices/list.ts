import { z } from 'zod'
import { listPrices } from '../../../catalog/catalog.ts'
import { priceView, viewPrice } from '../../model-view.ts'
import { defineOperation } from '../../operation.ts'

const pricesMax = 500
const query = z.object({
  modelId: z.string().min(1).max(200),
  priceListId: z.string().min(1).max(63).optional(),
})
const result = z.object({ data: z.array(priceView) })

export const listPricesOperation = defineOperation<
  unknown,
  unknown,
  z.infer<typeof query>,
  unknown,
  z.infer<typeof result>
>({
  id: 'prices.list',
  method: 'GET',
  path: '/prices',
  permission: 'catalog:read',
  summary: "List a model's last 500 prices, those to come first, then those in force and past",
  query,
  result,
  async handle({ query: { modelId, priceListId } }, { tx }) {
    const prices = await listPrices(tx, { modelIds: [modelId], priceListId, limit: pricesMax })
    return { data: prices.map(viewPrice) }
  },
})
