/**
 * What becomes of fields that we do not know. OpenAI's clients expect to be tolerated; an operator may prefer that misspelt names are heard of, and may let
 * engines have fields of their own, by name. Never all of them: among what engines understand is where a request goes, and how a template runs.
 */
import { Fault } from '../../../platform/fault.ts'

export interface FieldPolicy {
  readonly unknown: 'ignore' | 'refuse'
  /** Names of fields that go on to the engine as they are. */
  readonly forwarded: readonly string[]
}

export const tolerant: FieldPolicy = { unknown: 'ignore', forwarded: [] }

/** Longer names are not quoted back. */
const nameLengthMax = 100

/** Returns the fields for the engine. Throws `client.invalid_request` with the name in `param`. */
export function takeUnknownFields(
  value: unknown,
  known: ReadonlySet<string>,
  policy: FieldPolicy,
): Readonly<Record<string, unknown>> {
  const isTolerant = policy.unknown === 'ignore' && policy.forwarded.length === 0
  if (isTolerant || typeof value !== 'object' || value === null) return {}
  const unknown = Object.entries(value).filter(([name]) => !known.has(name))
  const refused = unknown.find(([name]) => !policy.forwarded.includes(name))
  if (refused && policy.unknown === 'refuse') {
    throw new Fault({
      code: 'client.invalid_request',
      public: 'This field is not known here. Check its spelling, or leave it out.',
      param: refused[0].slice(0, nameLengthMax),
    })
  }
  return Object.fromEntries(
    unknown.filter(([name, field]) => field !== null && policy.forwarded.includes(name)),
  )
}
