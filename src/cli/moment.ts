/** Moments as people write them: `2027-01-31` (midnight UTC), `2027-01-31T12:00:00Z`, or a while from now: `12h`, `90d`. */
import type { Clock } from '../platform/clock.ts'
import { CliError } from './command.ts'

const unitsMs: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Returns the moment in ISO form. `flag` is named when the text is none. */
export function parseMoment(text: string, flag: string, clock: Clock): string {
  const durationMs = parseDuration(text)
  const ms = durationMs === undefined ? parseDate(text) : clock.nowMs() + durationMs
  if (ms === undefined)
    throw new CliError(
      `${flag} takes a date such as 2027-01-31, a moment such as 2027-01-31T12:00:00Z, or a while such as 90d: not "${text}".`,
    )
  return new Date(ms).toISOString()
}

/** `30m`, `12h`, `7d`, `0d`. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,6})([mhd])$/.exec(text)
  return match ? Number(match[1]) * (unitsMs[match[2] ?? ''] ?? 0) : undefined
}

function parseDate(text: string): number | undefined {
  if (!/^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2}))?$/.test(text))
    return undefined
  const ms = Date.parse(text)
  return Number.isNaN(ms) ? undefined : ms
}
