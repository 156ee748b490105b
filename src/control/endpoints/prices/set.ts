import { z } from 'zod'
import { priceUnits, setPrice } from '../../../catalog/catalog.ts'
import type { Clock } from '../../../platform/clock.ts'
import { priceView } from '../../model-view.ts'
import { defineOperation } from '../../operation.ts'

/** A million euro for one token is beyond every price; more is a slip of the unit. */
const amountDigitsMax = 15
const body = z.strictObject({
  modelId: z.string().min(1).max(200),
  priceListId: z.string().min(1).max(63),
  amounts: z
    .partialRecord(z.enum(priceUnits), z.string().regex(new RegExp(`^\\d{1,${amountDigitsMax}}$`)))
    .refine((amounts) => Object.keys(amounts).length > 0, 'name at least one unit')
    .describe('Nano-units of the currency for one unit: 0.9 euro per million tokens is "900".'),
  effectiveFrom: z.iso
    .datetime({ offset: true })
    .optional()
    .describe('When the prices begin; now when left out.'),
})
const result = z.object({ data: z.array(priceView.omit({ currency: true })) })

export const setPriceOperation = defineOperation<
  { readonly clock: Clock },
  unknown,
  unknown,
  z.infer<typeof body>,
  z.infer<typeof result>
>({
  id: 'prices.set',
  method: 'POST',
  path: '/prices',
  permission: 'catalog:write',
  summary: 'Set prices of a model from now on, or from a later moment',
  body,
  result,
  audit: (input, { data }) => ({
    resource: input.body.modelId,
    details: {
      priceListId: input.body.priceListId,
      amounts: input.body.amounts,
      effectiveFrom: data[0]?.effectiveFrom,
    },
  }),
  async handle({ body: { modelId, priceListId, amounts, effectiveFrom } }, { tx, deps }) {
    const nowMs = deps.clock.nowMs()
    const effectiveFromMs = effectiveFrom === undefined ? nowMs : Date.parse(effectiveFrom)
    const units = priceUnits.filter((unit) => amounts[unit] !== undefined)
    for (const unit of units) {
      const amountNanos = BigInt(amounts[unit] ?? 0)
      await setPrice(tx, { priceListId, modelId, unit, amountNanos, effectiveFromMs }, nowMs)
    }
    const view = { priceListId, modelId, effectiveFrom: new Date(effectiveFromMs).toISOString() }
    return { data: units.map((unit) => ({ ...view, unit, amountNanos: amounts[unit] ?? '0' })) }
  },
})
