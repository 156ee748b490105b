import { expect, test } from 'vitest'
import type { LimitRecords, LimitRuleRecord } from './rule.ts'
import { createRuleBook } from './rule-book.ts'

const rule = (id: string, change: Partial<LimitRuleRecord>): LimitRuleRecord => ({
  id,
  per: 'tenant',
  measure: 'requests',
  window: 'minute',
  limit: '10',
  enforcement: 'hard',
  onOutage: 'closed',
  ...change,
})
const plan = (id: string, rank: number, prepaid = false) => ({
  id,
  name: id,
  rank,
  priority: id === 'top' ? ('high' as const) : ('normal' as const),
  prepaid,
})
const records: LimitRecords = {
  plans: [plan('small', 1, true), plan('middle', 2), plan('top', 3)],
  rules: [
    rule('of-small', { planId: 'small', limit: '10' }),
    rule('of-middle', { planId: 'middle', limit: '100' }),
    rule('of-middle-by-model', { planId: 'middle', limit: '50', modelId: 'm2' }),
    rule('of-tenant', { tenantId: 'ten_a' }),
    rule('by-key', { tenantId: 'ten_a', apiKeyId: 'key_1', per: 'key' }),
    rule('by-project', { tenantId: 'ten_a', projectId: 'prj_1', per: 'project' }),
    rule('by-model', { tenantId: 'ten_a', modelId: 'm1' }),
    rule('of-another', { tenantId: 'ten_b' }),
  ],
  tenantPlans: [
    { tenantId: 'ten_a', planId: 'small' },
    { tenantId: 'ten_c', planId: 'top' },
  ],
  credits: [{ tenantId: 'ten_a', nanos: '500' }],
}
const book = createRuleBook(records)
const scope = (change: Record<string, string> = {}) => ({
  tenantId: 'ten_a',
  projectId: 'prj_1',
  apiKeyId: 'key_1',
  modelId: 'm1',
  ...change,
})
const ids = (change: Record<string, string> = {}): string[] =>
  book.match(scope(change)).map((each) => each.ruleId)

test.each([
  [
    'all that concern it',
    {},
    ['of-small', 'of-tenant', 'by-key', 'by-project', 'by-model', 'credit'],
  ],
  [
    'not those of another key',
    { apiKeyId: 'key_2' },
    ['of-small', 'of-tenant', 'by-project', 'by-model', 'credit'],
  ],
  [
    'not those of another model',
    { modelId: 'm2' },
    ['of-small', 'of-tenant', 'by-key', 'by-project', 'credit'],
  ],
  [
    'not those of another project',
    { apiKeyId: 'key_3', projectId: 'prj_2', modelId: 'm3' },
    ['of-small', 'of-tenant', 'credit'],
  ],
  ['those of its own tenant only', { tenantId: 'ten_b', apiKeyId: 'key_b' }, ['of-another']],
])('a request must pass %s', (_name, change, want) => {
  expect(ids(change)).toEqual(want)
})

test('a rule counts for the tenant, the project or the key that has the amount for itself', () => {
  const subjects = Object.fromEntries(
    book.match(scope()).map((each) => [each.ruleId, each.subject]),
  )
  expect(subjects).toMatchObject({ 'of-tenant': 'ten_a', 'by-key': 'key_1', 'by-project': 'prj_1' })
})

test('prepaid credit is a hard limit of what was granted', () => {
  expect(book.match(scope()).at(-1)).toMatchObject({
    ruleId: 'credit',
    measure: 'amount',
    window: 'lifetime',
    limit: 500n,
    enforcement: 'hard',
  })
})

test('the plan that would let a request pass is the smallest larger one, and none is named for a rule of the tenant', () => {
  const [ofPlan, ofTenant] = book.match(scope())
  if (!ofPlan || !ofTenant) throw new Error('both match')
  expect(book.planThatAllows(ofPlan, 60n)).toBe('middle')
  // The larger plan is smaller for this model.
  expect(book.planThatAllows({ ...ofPlan, modelId: 'm2' }, 60n)).toBe('top')
  expect(book.planThatAllows(ofPlan, 1_000n)).toBe('top')
  expect(book.planThatAllows(ofTenant, 60n)).toBeUndefined()
})

test('the priority is that of the plan', () => {
  expect([book.priorityOf('ten_a'), book.priorityOf('ten_c'), book.priorityOf('ten_b')]).toEqual([
    'normal',
    'high',
    'normal',
  ])
})
