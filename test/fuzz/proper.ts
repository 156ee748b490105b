import { Fault } from '../../src/platform/fault.ts'

/** What a reader may throw: a fault that somebody else is to blame for. Throws on anything else. */
export function checkRefusal(error: unknown): void {
  if (error instanceof Fault && error.code !== 'platform.bug') return
  throw error
}
