/** Key → caller. Every spelling of the header passes here, and a failed key never falls through to anything else. */
import type { IncomingHttpHeaders } from 'node:http'
import type { Principal } from '../../identity/principal.ts'
import { Fault } from '../../platform/fault.ts'
import type { GatewayDeps } from '../deps.ts'
import type { Exchange } from '../exchange.ts'

const publicTexts = {
  'auth.missing_key':
    "You didn't provide an API key. Send it in the header 'Authorization: Bearer YOUR_KEY'.",
  'auth.invalid_key':
    'Incorrect API key provided. Check it, or ask your administrator for a new one.',
  'auth.ip_not_allowed': 'This API key may not be used from your address.',
} as const

export function authenticate(
  exchange: Pick<Exchange, 'headers' | 'ip'>,
  deps: Pick<GatewayDeps, 'keys' | 'clock' | 'keyUsed'>,
): Principal {
  const secret = presentedSecret(exchange.headers)
  const result = deps.keys().authenticate({ secret, ip: exchange.ip, nowMs: deps.clock.nowMs() })
  if (result.outcome === 'accepted') {
    deps.keyUsed(result.principal.apiKeyId)
    return result.principal
  }
  throw new Fault({ code: result.code, public: publicTexts[result.code], internal: result.reason })
}

function presentedSecret(headers: IncomingHttpHeaders): string {
  const bearer = /^bearer +(.*\S) *$/i.exec(headers.authorization ?? '')?.[1]
  if (bearer !== undefined) return bearer
  for (const name of ['x-api-key', 'api-key']) {
    const value = headers[name]
    if (typeof value === 'string' && value !== '') return value
  }
  return ''
}
