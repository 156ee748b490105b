/** Grammar rules for numbers between bounds, digit by digit. Pure. */

/** Bounds beyond this say no more than "an integer". */
const digitsMax = 16
const fraction = '("." [0-9]{1,16})?'

/** Whole numbers from `min` to `max`, both included; `undefined` when a bound is not whole. */
export function integerRule(min: number | undefined, max: number | undefined): string | undefined {
  return signed(min, max, 1, (low, high) => wholeBetween(low, high))
}

/** Decimal numbers from `min` to `max`, both included; `undefined` when a bound is not whole. */
export function magnitudeRule(
  min: number | undefined,
  max: number | undefined,
): string | undefined {
  return signed(min, max, 0, (low, high) => {
    if (high === undefined) return `(${wholeBetween(low, undefined)}) ${fraction}`
    const top = `${digits(String(high))} ("." "0"{1,16})?`
    return high === low ? top : `(${wholeBetween(low, high - 1)}) ${fraction} | ${top}`
  })
}

/** Splits at zero: `magnitude` gives the rule for numbers without sign, the negative ones from `smallest` on. */
function signed(
  min: number | undefined,
  max: number | undefined,
  smallest: number,
  magnitude: (low: number, high: number | undefined) => string,
): string | undefined {
  if (![min, max].every((each) => each === undefined || Number.isInteger(each))) return undefined
  const parts: string[] = []
  if (min === undefined || min < 0) {
    const low = max === undefined || max >= 0 ? smallest : -max
    const high = min === undefined ? undefined : -min
    if (high === undefined || high >= low) parts.push(`"-" (${magnitude(low, high)})`)
  }
  if (max === undefined || max >= 0) parts.push(magnitude(Math.max(0, min ?? 0), max))
  return parts.join(' | ')
}

/** Whole numbers without sign; `high` undefined means as many digits as are exact. */
function wholeBetween(low: number, high: number | undefined): string {
  const from = String(low)
  const to =
    high === undefined || String(high).length >= digitsMax || high > Number.MAX_SAFE_INTEGER
      ? '9'.repeat(digitsMax)
      : String(high)
  const parts: string[] = []
  for (let length = from.length; length <= to.length; length += 1) {
    const first = length === from.length ? from : `1${'0'.repeat(length - 1)}`
    const last = length === to.length ? to : '9'.repeat(length)
    parts.push(sameLength(first, last))
  }
  return parts.join(' | ')
}

/** Digit strings of one length, from `first` to `last`. */
function sameLength(first: string, last: string): string {
  const length = first.length
  if (first === last) return digits(first)
  if (length === 1) return `[${first}-${last}]`
  if (/^0*$/.test(first) && /^9*$/.test(last)) return `[0-9]{${length}}`
  const head = Number(first[0])
  const tail = Number(last[0])
  const restFirst = first.slice(1)
  const restLast = last.slice(1)
  if (head === tail) return `${digits(String(head))} (${sameLength(restFirst, restLast)})`
  const nines = '9'.repeat(length - 1)
  const zeros = '0'.repeat(length - 1)
  const parts: string[] = []
  const isFirstWhole = restFirst === zeros
  const isLastWhole = restLast === nines
  if (!isFirstWhole) parts.push(`${digits(String(head))} (${sameLength(restFirst, nines)})`)
  const from = isFirstWhole ? head : head + 1
  const to = isLastWhole ? tail : tail - 1
  if (from <= to) parts.push(`[${from}-${to}] [0-9]{${length - 1}}`)
  if (!isLastWhole) parts.push(`${digits(String(tail))} (${sameLength(zeros, restLast)})`)
  return parts.join(' | ')
}

function digits(text: string): string {
  return `"${text}"`
}
