/** Limits and plans as the control API answers them, and as people read and write them. */
import { z } from 'zod'
import { enforcements, measures, limitWindows } from '../limits/rule.ts'
import { CliError } from './command.ts'
import { parseMoney, renderMoney } from './money.ts'

export const limitRow = z.object({
  id: z.string(),
  planId: z.string().nullable(),
  tenantId: z.string().nullable(),
  setBy: z.string(),
  projectId: z.string().nullable(),
  apiKeyId: z.string().nullable(),
  modelId: z.string().nullable(),
  per: z.string(),
  measure: z.string(),
  window: z.string(),
  limit: z.string(),
  enforcement: z.string(),
  onOutage: z.string(),
})
export type LimitRow = z.infer<typeof limitRow>

export const planRow = z.object({
  id: z.string(),
  name: z.string(),
  rank: z.number(),
  priority: z.string(),
  prepaid: z.boolean(),
  upfrontCreditNanos: z.string().nullable(),
  currency: z.string(),
})
export const planWithLimits = planRow.extend({ rules: z.array(limitRow) })
export type PlanRow = z.infer<typeof planRow>

export const limitColumns = ['ID', 'FROM', 'FOR', 'PER', 'MEASURE', 'WINDOW', 'LIMIT', 'MODE']

export function limitCells(row: LimitRow, currency: string): string[] {
  return [
    row.id,
    row.planId === null ? row.setBy : `plan ${row.planId}`,
    scopeOf(row),
    row.per,
    row.measure,
    row.measure === 'concurrency' ? '-' : row.window,
    renderAmount(row.measure, row.limit, currency),
    row.onOutage === 'open' ? `${row.enforcement}, open in an outage` : row.enforcement,
  ]
}

/** Which requests it counts. */
export function scopeOf(row: LimitRow): string {
  const parts = [row.projectId, row.apiKeyId, row.modelId].filter((part) => part !== null)
  return parts.join(' ') || 'all'
}

/** Money in units of the currency; anything else is a count. */
export function renderAmount(measure: string, amount: string, currency: string): string {
  return measure === 'amount' ? renderMoney(amount, currency) : amount
}

export function parseAmount(measure: string, text: string): string {
  if (measure === 'amount') {
    const nanos = parseMoney(text, '--limit')
    if (nanos >= 0n) return String(nanos)
    throw new CliError('--limit takes no negative amount.')
  }
  if (/^\d{1,18}$/.test(text)) return text
  throw new CliError(`--limit takes a whole number of ${measure.replace('_', ' ')}: not "${text}".`)
}

/** People may write output-tokens. */
export function parseMeasure(text: string): string {
  return parseChoice('--measure', text.replaceAll('-', '_'), measures)
}

export function parseWindow(text: string): string {
  return parseChoice('--window', text, limitWindows)
}

export interface ModeOptions {
  readonly hard?: boolean
  readonly soft?: boolean
  readonly shadow?: boolean
  readonly onOutage?: string
}

/** What of the mode was named; nothing for what was not. */
export function parseMode(options: ModeOptions): {
  enforcement: string | undefined
  onOutage: string | undefined
} {
  const named = enforcements.filter((mode) => options[mode])
  if (named.length > 1) throw new CliError('Choose one of --hard, --soft and --shadow.')
  const { onOutage } = options
  return {
    enforcement: named[0],
    onOutage:
      onOutage === undefined ? undefined : parseChoice('--on-outage', onOutage, ['closed', 'open']),
  }
}

export function parseChoice(flag: string, text: string, choices: readonly string[]): string {
  if (choices.includes(text)) return text
  throw new CliError(`${flag} takes ${choices.join(', ')}: not "${text}".`)
}
