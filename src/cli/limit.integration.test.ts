/** The commands for plans, limits and credit, against the real control API. */
import { Command } from 'commander'
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startControlPlatform, type ControlPlatform } from '../../test/control-platform.ts'
import { importShippedPlans } from '../limits/rules.ts'
import { CliError, type Cli } from './command.ts'
import { creditCommand } from './credit.ts'
import { limitCommand } from './limit.ts'
import { renderTable } from './output.ts'
import { planCommand } from './plan.ts'
import { tenantCommand } from './tenant.ts'

let platform: ControlPlatform

beforeAll(async () => {
  platform = await startControlPlatform()
  await platform.run(importShippedPlans)
})
afterAll(() => platform?.close())

interface Ran {
  readonly text: string
  // Tests read what they expect, and fail where it is not.
  // eslint-disable-next-line typescript/no-explicit-any
  readonly value: any
}

/** Runs a command line as somebody: what it says to people, and what it prints under `--json`. */
async function run(line: string, role = 'operator'): Promise<Ran> {
  const token = platform.actor(role === 'operator' ? 'platform' : 'tenant', role).secret
  let ran: Ran | undefined
  const cli: Cli = {
    say() {},
    result(value, human) {
      ran = { value, text: human() }
    },
    table: renderTable,
    progress() {},
    control: async () => ({
      async call(method, path, body) {
        const answer = await platform.call({
          method,
          path: path.slice('/api/v1'.length),
          body,
          token,
        })
        if (answer.status === 200) return answer.body
        throw new CliError(answer.body.error.message)
      },
    }),
  }
  const program = new Command().exitOverride()
  for (const command of [planCommand, limitCommand, creditCommand, tenantCommand])
    command.register(program, cli)
  await program.parseAsync(line.split(' '), { from: 'user' })
  if (!ran) throw new Error('the command printed no result')
  return ran
}

const cells = (text: string): string[][] => text.split('\n').map((line) => line.split(/ {2,}/))

test('plans are listed from the smallest to the largest, and shown with their limits in euros', async () => {
  const listed = cells((await run('plan list')).text)
  expect(listed.map(([id]) => id)).toEqual([
    'ID',
    'tier-1',
    'tier-2',
    'tier-3',
    'tier-4',
    'monthly',
  ])
  expect(listed[2]).toEqual(['tier-2', 'Tier 2', '20', 'normal', 'prepaid', '500.00 EUR'])
  expect(listed[5]?.slice(-3)).toEqual(['high', 'billed', '-'])
  const { text } = await run('plan show tier-2')
  expect(text).toMatch(
    /^tier-2 \(Tier 2\): rank 20, normal priority, prepaid, 500.00 EUR upfront\./,
  )
  expect(text).toMatch(/ amount +month +3000\.00 EUR +hard$/m)
  expect(text).toMatch(/ requests +minute +1000 +soft, open in an outage$/m)
})

test('a plan is made, limited, changed and removed', async () => {
  await run('plan create startup --rank 15 --prepaid --upfront-credit 100')
  const made = await run(
    'limit set --plan startup --measure output-tokens --window day --limit 5000 --per key',
  )
  expect(made.text).toMatch(/^5000 output tokens a day \(hard\) for the plan startup: lim_/)
  const { id } = made.value
  expect((await run(`limit update ${id} --plan startup --limit 6000 --soft`)).text).toMatch(
    /is 6000 output tokens a day \(soft\)/,
  )
  expect((await run('limit list --plan startup')).value).toMatchObject([
    { id, limit: '6000', enforcement: 'soft', per: 'key' },
  ])
  await run(`limit remove ${id} --plan startup`)
  expect((await run('limit list --plan startup')).text).toMatch(/^Nothing limits the plan startup/)
  const changed = await run('plan update startup --no-upfront-credit --no-prepaid --priority high')
  expect(changed.value).toMatchObject({ prepaid: false, upfrontCreditNanos: null, rank: 15 })
  expect((await run('plan remove startup')).text).toBe('The plan startup is gone.')
})

test('a tenant is put on a prepaid plan, told to pay ahead, credited, and taken off', async () => {
  const put = await run('tenant update own --plan tier-2')
  expect(put.text).toMatch(/has the price list standard and the plan tier-2\./)
  const [advice = ''] = /colonnade (credit grant .*)$/.exec(put.text)?.slice(1) ?? []
  expect(advice).toBe('credit grant --tenant own --amount 500.00')
  expect((await run(advice)).text).toBe(
    'own is credited with 500.00 EUR. Credited: 500.00 EUR, spent: 0.00 EUR, remaining: 500.00 EUR.',
  )
  await run('credit grant --tenant own --amount -0.5 --note slip')
  const listed = await run('credit list --tenant own')
  expect(cells(listed.text).map((row) => row.slice(2))).toEqual([
    ['AMOUNT', 'NOTE'],
    ['500.00 EUR'],
    ['-0.50 EUR', 'slip'],
    [],
  ])
  expect(listed.text).toMatch(/remaining: 499\.50 EUR\.$/)
  expect((await run('tenant list')).text).toMatch(/ own +active +standard +tier-2 +EUR$/m)
  expect((await run('tenant update own --no-plan')).text).toMatch(/and no plan\.$/)
  expect((await run('tenant create fresh --plan monthly')).value).toMatchObject({
    planId: 'monthly',
  })
})

test('a limit is set by the names of tenant, project and key, in euros, and shown so', async () => {
  const made = await run(
    'limit set --tenant own --project main --key main --model gemma3:27b --measure amount --window month --limit 50.00 --shadow --on-outage open',
  )
  expect(made.value).toMatchObject({
    projectId: platform.own.projectId,
    apiKeyId: platform.own.apiKeyId,
    modelId: 'gemma3:27b',
    limit: '50000000000',
    enforcement: 'shadow',
    onOutage: 'open',
    setBy: 'platform',
  })
  const { id } = made.value
  const listed = cells((await run('limit list --tenant own')).text)
  expect(listed.find(([first]) => first === id)?.slice(-5)).toEqual([
    'tenant',
    'amount',
    'month',
    '50.00 EUR',
    'shadow, open in an outage',
  ])
  expect((await run(`limit update ${id} --tenant own --limit 12.5`)).value.limit).toBe(
    '12500000000',
  )
  await run(`limit remove ${id} --tenant own`)
  await run('limit set --tenant own --measure concurrency --limit 4')
  expect((await run('limit list --tenant own')).text).toMatch(/ concurrency +- +4 +hard$/m)
})

test("a tenant's owner sets limits of their own by the same commands", async () => {
  const set = `limit set --tenant ${platform.own.id} --measure requests --window minute --limit 9`
  const { id } = (await run(set, 'owner')).value
  expect((await run(`limit list --tenant ${platform.own.id}`, 'owner')).text).toContain(id)
  expect((await run(`limit remove ${id} --tenant ${platform.own.id}`, 'owner')).text).toBe(
    '9 requests a minute (hard) no longer binds own.',
  )
})

test('status and report are tables of exact figures', async () => {
  await run('tenant update own --plan tier-1')
  const made = await run('limit set --tenant own --measure amount --window lifetime --limit 10')
  const { id } = made.value
  await platform.run(async (tx) => {
    const counter = sql.join([id, platform.own.id, '1970-01-01T00:00:00Z'])
    await sql`INSERT INTO limit_counters (rule_id, subject, window_start, tenant_id) VALUES (${counter}, ${platform.own.id})`.execute(
      tx,
    )
    await sql`INSERT INTO limit_leases (rule_id, subject, window_start, life_id, spent) VALUES (${counter}, 'lif_1', 183300)`.execute(
      tx,
    )
    await sql`INSERT INTO limit_refusals (rule_id, subject, tenant_id, model_id, hour, shadow, refusals)
      VALUES (${id}, ${platform.own.id}, ${platform.own.id}, 'gemma3:27b', '2026-11-21T12:00:00Z', true, 5)`.execute(
      tx,
    )
  })
  const status = cells((await run('limit status --tenant own')).text)
  expect(status.find(([first]) => first === 'credit')?.[1]).toBe('prepaid credit')
  expect(status.find(([first]) => first === id)).toEqual([
    id,
    'all',
    platform.own.id,
    'amount',
    'lifetime',
    '0.0001833 EUR',
    '10.00 EUR',
    '9.9998167 EUR',
    '-',
  ])
  for (const scope of ['', ' --tenant own']) {
    const report = cells((await run(`limit report --from 2026-11-21${scope}`)).text)
    expect(report[1]).toEqual([
      '2026-11-21 12:00',
      platform.own.id,
      id,
      'amount ever',
      'gemma3:27b',
      '0',
      '5',
    ])
  }
  expect((await run('limit report --from 2027-01-01')).text).toBe(
    'No limit refused anything, or would have.',
  )
})

test.each([
  ['limit set --tenant own --measure bytes --limit 1', /^--measure takes requests, input_tokens/],
  [
    'limit set --tenant own --measure tokens --limit 1.5 --window day',
    /^--limit takes a whole number of tokens/,
  ],
  ['limit set --tenant own --measure amount --limit -1 --window day', /^--limit takes no negative/],
  ['limit set --tenant own --measure tokens --limit 1', /^Name a window/],
  ['limit set --tenant own --measure tokens --limit 1 --window year', /^--window takes minute/],
  [
    'limit set --tenant own --measure tokens --limit 1 --window day --soft --hard',
    /^Choose one of --hard/,
  ],
  [
    'limit set --tenant own --measure tokens --limit 1 --window day --key none',
    /^There is no key 'none'/,
  ],
  [
    'limit set --tenant own --measure tokens --limit 1 --window day --on-outage open',
    /'soft' to have it open/,
  ],
  ['limit set --plan tier-1 --measure tokens --limit 1 --window day --key main', /--per key/],
  [
    'limit set --plan tier-1 --tenant own --measure tokens --limit 1 --window day',
    /^Choose one of --tenant/,
  ],
  ['limit update lim_none --tenant own --limit 1', /^There is no limit 'lim_none' for own/],
  ['limit update lim_none --tenant own', /^Say what to change/],
  ['plan update tier-1', /^Say what to change/],
  ['plan create x --rank low', /^--rank takes/],
  ['plan remove tier-1', /^Tenants are on this plan/],
  ['tenant update own --plan none', /^There is no such plan/],
  ['credit grant --tenant own --amount 1,50', /^--amount takes an amount such as 12.50/],
  ['credit grant --tenant own --amount 0', /^--amount takes anything but 0/],
])('%s fails with advice', async (line, advice) => {
  const before = await platform.fingerprint()
  const error: unknown = await run(line).catch((caught: unknown) => caught)
  expect(error).toBeInstanceOf(CliError)
  expect(error instanceof Error ? error.message : '').toMatch(advice)
  expect(await platform.fingerprint()).toBe(before)
})
