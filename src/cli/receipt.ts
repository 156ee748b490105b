/** `colonnade receipt`: signed receipts of requests, from the ledger; and their check, which needs nothing but the public keys. */
import { readFileSync, statSync } from 'node:fs'
import { z } from 'zod'
import {
  costOf,
  receiptKeysPath,
  verifyReceipt,
  type ReceiptClaims,
  type ReceiptVerdict,
} from '../billing/receipt.ts'
import { CliError, type Cli, type CliCommand } from './command.ts'
import { chooseTenant } from './identity-rows.ts'
import { renderMoney } from './money.ts'

const receiptList = z.object({
  receipts: z.array(z.object({ leg: z.number(), receipt: z.string() })),
})
const fileBytesMax = 64 * 1024

export const receiptCommand: CliCommand = {
  register(program, cli) {
    const command = program.command('receipt').description('signed receipts of requests')
    command
      .command('get')
      .description('the receipts of a request, one for each time that it ran')
      .argument('<request>', 'its id: x-request-id of the answer')
      .option('--tenant <tenant>', 'whose request it was (id or name)')
      .action((request: string, options: { readonly tenant?: string }) =>
        show(cli, request, options.tenant),
      )
    command
      .command('verify')
      .description('check signature and arithmetic of a receipt; exit code 1 when it is not valid')
      .argument('[file]', "the receipt's text; standard input without a file, or with -", '-')
      .option('--keys <file>', 'public keys as a JWK set; without, the platform is asked for them')
      .action((file: string, options: { readonly keys?: string }) =>
        verify(cli, file, options.keys),
      )
  },
}

async function show(cli: Cli, requestId: string, wanted: string | undefined): Promise<void> {
  const client = await cli.control()
  const { id } = await chooseTenant(client, wanted)
  const path = `/api/v1/tenants/${id}/receipts/${encodeURIComponent(requestId)}`
  const answer = receiptList.parse(await client.call('GET', path))
  cli.result(answer, () => answer.receipts.map(({ receipt }) => receipt).join('\n'))
}

async function verify(cli: Cli, file: string, keysFile: string | undefined): Promise<void> {
  const token = read(file).trim()
  const verdict = verifyReceipt(token, await findKeys(cli, keysFile))
  cli.result(verdict, () => render(cli, verdict))
  if (!verdict.isValid) process.exitCode = 1
}

async function findKeys(cli: Cli, file: string | undefined): Promise<unknown> {
  if (file === undefined) return (await cli.control()).call('GET', receiptKeysPath)
  try {
    return JSON.parse(read(file))
  } catch (error) {
    if (error instanceof CliError) throw error
    throw new CliError(`${file} is no JSON. Get the keys at ${receiptKeysPath} of the platform.`)
  }
}

function read(file: string): string {
  try {
    if (file === '-') return readFileSync(0, 'utf8').slice(0, fileBytesMax)
    if (statSync(file).size > fileBytesMax) throw new CliError(`${file} is too long for that.`)
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (error instanceof CliError) throw error
    throw new CliError(`${file === '-' ? 'Standard input' : file} cannot be read.`)
  }
}

function render(cli: Cli, verdict: ReceiptVerdict): string {
  if (!verdict.isValid) return `INVALID: ${verdict.reason}.`
  const { claims, keyId } = verdict
  const { currency } = claims
  const facts = [
    ['request', `${claims.request_id}${claims.leg === 0 ? '' : ` (repetition ${claims.leg})`}`],
    ['ended', `${claims.settled_at}, ${claims.outcome}`],
    ['for', `${claims.tenant_id}, ${claims.project_id}, ${claims.api_key_id}`],
    ['model', `${claims.model} at ${claims.endpoint}`],
    ['prices', claims.price.version],
    ...lines(claims),
    ['cost', renderMoney(String(costOf(claims)), currency)],
    ...deduction('charged before', claims.already_charged_nanos, currency),
    ...deduction('waived', claims.waived_nanos, currency),
    ['charged', renderMoney(claims.amount_nanos, currency)],
  ]
  return `VALID: signed by key ${keyId}, and its amount follows from usage and prices.\n${cli.table(['CLAIM', 'VALUE'], facts)}`
}

function deduction(name: string, nanos: string, currency: string): string[][] {
  return nanos === '0' ? [] : [[name, renderMoney(nanos, currency)]]
}

/** What was used, with the price of one, where any was. */
function lines({ usage, price, currency }: ReceiptClaims): string[][] {
  const each = [
    ['input', usage.input_tokens - usage.cached_input_tokens, price.nanos.input_token],
    ['cached input', usage.cached_input_tokens, price.nanos.cached_input_token],
    ['output', usage.output_tokens - usage.reasoning_tokens, price.nanos.output_token],
    ['reasoning', usage.reasoning_tokens, price.nanos.reasoning_token],
    ['of it system', usage.system_tokens, price.nanos.system_token],
    ['audio (ms)', usage.audio_ms, price.nanos.audio_minute],
    ['characters', usage.characters, price.nanos.character],
    ['images', usage.images, price.nanos.image],
    ['rerank', usage.rerank_tokens, price.nanos.rerank_token],
  ] as const
  return each.flatMap(([name, count = 0, nanos = '0']) =>
    count === 0 ? [] : [[name, `${count} × ${renderMoney(nanos, currency)}`]],
  )
}
