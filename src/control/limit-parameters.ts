/** How plans and limits are described to the API. Amounts are decimal strings, for they may be larger than a JSON number is exact. */
import { z } from 'zod'
import { limitMax, type NewRule, type RuleSetter } from '../limits/rules.ts'
import { enforcements, limitWindows, measures } from '../limits/rule.ts'
import type { Actor } from './operation.ts'

export const planId = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'small letters, digits and -, at most 63')

/** Limits and money alike: no counter holds more. What is no number is not looked at further. */
export const amount = z
  .string()
  .regex(/^\d{1,19}$/, { error: 'a whole number, as text', abort: true })
  .refine((text) => BigInt(text) <= limitMax, `at most ${limitMax}`)

const enforcement = z
  .enum(enforcements)
  .describe(
    'hard: never exceeded. soft: refuses once it is used up, and cuts no answer. shadow: only counts what it would have refused.',
  )
const onOutage = z
  .enum(['closed', 'open'])
  .describe(
    'While the database is away and a gateway has spent its share: refuse, or go on with an even share.',
  )
const limit = amount.describe(
  "Requests, tokens, or nano-units of the tenant's currency: 50 euro are 50000000000.",
)

const ruleFields = {
  modelId: z.string().min(1).max(200).optional().describe('Only requests for this model.'),
  per: z
    .enum(['tenant', 'project', 'key'])
    .default('tenant')
    .describe('Whether the tenant, each project or each key has the amount for itself.'),
  measure: z
    .enum(measures)
    .describe('tokens are input and output together; concurrency are requests under way.'),
  window: z
    .enum(limitWindows)
    .optional()
    .describe("A calendar window in the platform's time zone. Left out for concurrency."),
  limit,
  enforcement: enforcement.default('hard'),
  onOutage: onOutage.default('closed'),
}

export const newPlanRule = z.strictObject(ruleFields)
export const newTenantRule = z.strictObject({
  projectId: z.string().min(1).max(200).optional().describe('Only requests of this project.'),
  apiKeyId: z.string().min(1).max(200).optional().describe('Only requests of this key.'),
  ...ruleFields,
})
export const ruleChange = z
  .strictObject({ limit, enforcement, onOutage })
  .partial()
  .refine((change) => Object.keys(change).length > 0, 'name at least one field to change')

/** Members of a tenant set and change rules in its name; the provider's staff in the platform's. */
export function setterOf(actor: Actor): RuleSetter {
  return actor.tenantId === undefined ? 'platform' : 'tenant'
}

export function fromNewRule(body: z.infer<typeof newTenantRule>): NewRule {
  return { ...body, limit: BigInt(body.limit) }
}

export function fromRuleChange({ limit: text, ...rest }: z.infer<typeof ruleChange>) {
  return { ...rest, limit: text === undefined ? undefined : BigInt(text) }
}

export const refusalQuery = z.object({
  from: z.coerce.date().optional().describe('In hours that begin at or after this moment.'),
  to: z.coerce.date().optional().describe('In hours that begin before this moment.'),
  limit: z.coerce.number().int().min(1).max(10_000).default(1_000),
})
