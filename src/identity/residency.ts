/**
 * Where a tenant's prompts may go. Machines of our own are always allowed; of others, only those in a place that the policy names. What nobody has
 * said the place of is nowhere that anybody allows. Pure.
 */

/** The place of machines of our own, ours and those on our network. */
export const ownLocation = 'local'
/** The code of a country (ISO 3166-1) or of a region, such as FR, EU or GLOBAL. */
export const placePattern = /^[A-Z]{2,8}$/

const union =
  'AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE'.split(' ')
/** Whoever allows a region allows what is in it; not the other way round, for what is "in the EU" may be anywhere in it. */
const regions: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ['EU', new Set(union)],
  ['EEA', new Set([...union, 'EU', 'IS', 'LI', 'NO'])],
])

/** `location` is an engine's; `undefined` when nobody has said it. */
export function mayGoTo(location: string | undefined, allowed: readonly string[]): boolean {
  if (location === ownLocation) return true
  if (location === undefined) return false
  return allowed.some((place) => place === location || regions.get(place)?.has(location))
}
