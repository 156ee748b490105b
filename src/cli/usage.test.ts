import { expect, test } from 'vitest'
import { runCommand } from '../../test/cli-for-tests.ts'
import { usageCommand } from './usage.ts'

const figures = {
  requests: 2,
  inputTokens: 30,
  cachedInputTokens: 4,
  outputTokens: 50,
  reasoningTokens: 6,
}
const answer = {
  data: [
    {
      group: { model: 'small', day: '2026-05-01' },
      currency: 'EUR',
      ...figures,
      amountNanos: '183300',
      amount: '0.000183300',
    },
  ],
  totals: [{ currency: 'EUR', ...figures, amountNanos: '183300', amount: '0.000183300' }],
  hasMore: false,
}
const tenantId = 'ten_AAAAAAAAAAAAAAAA'
const tenant = {
  id: tenantId,
  name: 'Acme',
  state: 'active',
  priceListId: 'standard',
  currency: 'EUR',
}

/** Runs the command against a control API that answers as above. */
async function run(...argv: string[]): Promise<{ paths: string[]; text: string }> {
  const paths: string[] = []
  const text = await runCommand([usageCommand], ['usage', ...argv], {
    async call(_method, path) {
      paths.push(path)
      return path.includes('/usage') ? answer : tenant
    },
  })
  return { paths, text }
}

test('a table of the groups, with a total', async () => {
  const { paths, text } = await run('--by', 'model,day')
  expect(paths).toEqual(['/api/v1/usage?groupBy=model%2Cday'])
  expect(text.split('\n').map((line) => line.split(/ {2,}/))).toEqual([
    ['MODEL', 'DAY', 'REQUESTS', 'INPUT', 'CACHED', 'OUTPUT', 'REASONING', 'AMOUNT'],
    ['small', '2026-05-01', '2', '30', '4', '50', '6', '0.000183300 EUR'],
    ['TOTAL', '2', '30', '4', '50', '6', '0.000183300 EUR'],
  ])
})

test("a tenant's usage is asked for where its own people may ask", async () => {
  const { paths } = await run('--tenant', tenantId)
  expect(paths.at(-1)).toBe(`/api/v1/tenants/${tenantId}/usage?groupBy=model`)
})

test('a single request is shown with its model and how it ended', async () => {
  const { paths } = await run('--request', 'req_1')
  const query = new URLSearchParams(paths[0]?.split('?')[1])
  expect(Object.fromEntries(query)).toEqual({
    groupBy: 'request,model,outcome',
    requestId: 'req_1',
  })
})
