import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterAll, afterEach, expect, test } from 'vitest'
import { createReceiptSigner, type BilledLeg } from '../billing/receipt.ts'
import type { Cli } from './command.ts'
import { renderTable } from './output.ts'
import { receiptCommand } from './receipt.ts'

const folder = mkdtempSync(join(tmpdir(), 'colonnade-receipt-'))
afterAll(() => rmSync(folder, { recursive: true }))
afterEach(() => {
  process.exitCode = 0
})

const signer = createReceiptSigner(Buffer.alloc(32, 1))
const leg: BilledLeg = {
  request: {
    requestId: 'req_1',
    leg: 1,
    tenantId: 'ten_1',
    projectId: 'prj_1',
    apiKeyId: 'key_1',
    modelId: 'chat',
    endpoint: '/v1/chat/completions',
    price: {
      version: 'standard@1',
      currency: 'EUR',
      inputNanos: 900n,
      cachedInputNanos: 900n,
      outputNanos: 4_000n,
      reasoningNanos: 4_000n,
    },
    alreadyChargedNanos: 10_000n,
  },
  settled: {
    outcome: 'completed',
    usage: { inputTokens: 17, cachedInputTokens: 0, outputTokens: 42, reasoningTokens: 0 },
    amountNanos: 17n * 900n + 42n * 4_000n - 10_000n,
    waivedNanos: 0n,
    settledAtMs: 1_800_000_000_000,
  },
  gatewayId: 'gw_1',
}

function write(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

/** Runs the command against a platform that publishes the signer's keys and has two receipts. */
async function run(...argv: string[]): Promise<{ text: string; value: unknown; paths: string[] }> {
  const paths: string[] = []
  let text = ''
  let value: unknown
  const cli: Cli = {
    say: () => {},
    result(result, human) {
      value = result
      text = human()
    },
    table: renderTable,
    progress: () => {},
    control: () =>
      Promise.resolve({
        call(_method, path) {
          paths.push(path)
          if (path.startsWith('/.well-known')) return Promise.resolve(signer.keySet)
          if (path.includes('/receipts/'))
            return Promise.resolve({
              receipts: [
                { leg: 0, receipt: 'a.b.c' },
                { leg: 1, receipt: 'd.e.f' },
              ],
            })
          return Promise.resolve({
            id: 'ten_AAAAAAAAAAAAAAAA',
            name: 'Acme',
            state: 'active',
            priceListId: 'standard',
            currency: 'EUR',
          })
        },
      }),
  }
  const program = new Command().exitOverride()
  receiptCommand.register(program, cli)
  await program.parseAsync(['receipt', ...argv], { from: 'user' })
  return { text, value, paths }
}

const keys = (): string => write('keys.json', JSON.stringify(signer.keySet))

test('a valid receipt is told line by line, offline', async () => {
  const { text, value, paths } = await run(
    'verify',
    write('receipt', `${signer.sign(leg)}\n`),
    '--keys',
    keys(),
  )
  expect(process.exitCode ?? 0).toBe(0)
  expect(paths).toEqual([])
  expect(value).toMatchObject({ isValid: true, claims: { request_id: 'req_1' } })
  expect(text).toMatch(/^VALID: signed by key \S+, and its amount follows/)
  expect(text).toMatch(/^request +req_1 \(repetition 1\)$/m)
  expect(text).toMatch(/^input +17 × 0\.0000009 EUR$/m)
  expect(text).toMatch(/^output +42 × 0\.000004 EUR$/m)
  expect(text).toMatch(/^cost +0\.0001833 EUR$/m)
  expect(text).toMatch(/^charged before +0\.00001 EUR$/m)
  expect(text).toMatch(/^charged +0\.0001733 EUR$/m)
  expect(text).not.toContain('waived')
})

test('without --keys the platform is asked for them', async () => {
  const { value, paths } = await run('verify', write('receipt', signer.sign(leg)))
  expect(value).toMatchObject({ isValid: true })
  expect(paths).toEqual(['/.well-known/colonnade/receipt-keys.json'])
})

test.each([
  ['a changed receipt', signer.sign(leg).replace(/.$/, 'A'), /signature does not match/],
  ['no receipt', 'hello', /not a receipt/],
  ['an empty file', '', /not a receipt/],
  [
    'a wrong sum',
    signer.sign({ ...leg, settled: { ...leg.settled, amountNanos: 1n } }),
    /does not follow from usage and prices: 173300 nano-units are due, and it says 1/,
  ],
])('%s ends with 1 and a verdict', async (_, token, verdict) => {
  const { text, value } = await run('verify', write('receipt', token), '--keys', keys())
  expect(process.exitCode).toBe(1)
  expect(value).toMatchObject({ isValid: false })
  expect(text).toMatch(/^INVALID: /)
  expect(text).toMatch(verdict)
})

test.each([
  ['a receipt that is not there', [join(folder, 'none'), '--keys', join(folder, 'keys.json')]],
  ['keys that are not there', [join(folder, 'receipt'), '--keys', join(folder, 'none')]],
  ['keys that are no JSON', [join(folder, 'receipt'), '--keys', join(folder, 'receipt')]],
  ['a file that is too long', [join(folder, 'long'), '--keys', join(folder, 'keys.json')]],
])('%s is told by its name', async (_, argv) => {
  keys()
  write('receipt', signer.sign(leg))
  write('long', 'x'.repeat(100_000))
  await expect(run('verify', ...argv)).rejects.toThrow(folder)
})

test('get prints a receipt a line', async () => {
  const { text, paths } = await run('get', 'req_1', '--tenant', 'ten_AAAAAAAAAAAAAAAA')
  expect(text).toBe('a.b.c\nd.e.f')
  expect(paths.at(-1)).toBe('/api/v1/tenants/ten_AAAAAAAAAAAAAAAA/receipts/req_1')
})
