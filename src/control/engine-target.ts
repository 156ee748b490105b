/** What an operator wishes to connect, checked as far as that goes without asking it: the address, the key, the settings, and where prompts will go. Pure. */
import type { EngineAdapter, EngineAddress, ProviderTraits } from '../engines/engine.ts'
import { placeOf } from '../fleet/fleet.ts'
import { ownLocation } from '../identity/residency.ts'
import { Fault } from '../platform/fault.ts'

export interface TargetWish {
  readonly url?: string | undefined
  readonly key?: string | undefined
  readonly models?: readonly string[] | undefined
  readonly settings: Readonly<Record<string, string>>
  readonly location?: string | undefined
}

export interface EngineTarget {
  readonly address: EngineAddress
  readonly location: string
  readonly operator: string
}

/** Throws `client.invalid_request` that names the field and what it should say. */
export function toTarget(wish: TargetWish, adapter: EngineAdapter | undefined): EngineTarget {
  return adapter?.provider ? toProviderTarget(wish, adapter.provider) : toServerTarget(wish)
}

/** A server of the operator's own, or of somebody whom we know nothing of. */
function toServerTarget(wish: TargetWish): EngineTarget {
  if (wish.url === undefined) throw invalid('url', 'Give the address of the engine.')
  const [setting] = Object.keys(wish.settings)
  if (setting !== undefined) throw invalid('settings', `This kind of engine has no "${setting}".`)
  const baseUrl = parseEngineUrl(wish.url)
  const location = wish.location ?? placeOf(baseUrl)
  if (location === undefined) {
    throw invalid(
      'location',
      'Say where this engine is: "local" for a machine of your own, else the country or region, such as FR or EU. Tenants are served by it only as far as they allow that place.',
    )
  }
  return {
    address: { baseUrl, apiKey: wish.key },
    location,
    operator: location === ownLocation ? 'own' : 'other',
  }
}

/** A service that somebody else runs. Nothing about it is taken for granted but its address. */
function toProviderTarget(wish: TargetWish, provider: ProviderTraits): EngineTarget {
  checkSettings(wish.settings, provider)
  const address = wish.url ?? provider.baseUrl(wish.settings)
  if (address === undefined) throw invalid('url', addressHint(provider))
  const baseUrl = parseEngineUrl(address)
  if (!isSafe(baseUrl)) throw invalid('url', 'A provider is asked over https only.')
  if (wish.key === undefined) throw invalid('key', 'A provider wants a key.')
  const flaw = provider.checkKey(wish.key, wish.settings)
  if (flaw !== undefined) throw invalid('key', flaw)
  if (wish.location === undefined || wish.location === ownLocation) {
    throw invalid(
      'location',
      'Say where this provider runs the models: the country or region, such as FR, EU or US. Tenants are served by it only as far as they allow that place.',
    )
  }
  if (wish.models === undefined) {
    throw invalid('models', "Name the models: not all of a provider's are offered at once.")
  }
  return {
    address: { baseUrl, apiKey: wish.key, settings: wish.settings },
    location: wish.location,
    operator: provider.operator,
  }
}

function checkSettings(settings: Readonly<Record<string, string>>, provider: ProviderTraits): void {
  const known = Object.entries(provider.settings)
  const names = known.map(([name, { means }]) => `${name} (${means})`).join('; ') || 'none'
  for (const name of Object.keys(settings)) {
    if (!Object.hasOwn(provider.settings, name)) {
      throw invalid('settings', `This provider has no setting "${name}". It has: ${names}.`)
    }
  }
  for (const [name, { pattern, required, means }] of known) {
    const value = settings[name]
    if (value === undefined && required)
      throw invalid('settings', `The setting "${name}" is needed: ${means}.`)
    if (value !== undefined && !pattern.test(value))
      throw invalid('settings', `The setting "${name}" is wrong. It is ${means}.`)
  }
}

function addressHint({ settings }: ProviderTraits): string {
  const names = Object.keys(settings)
    .filter((name) => name === 'region' || name === 'resource')
    .map((name) => ` or the setting "${name}"`)
  return `Give the address${names.join('')}.`
}

/** The key and the prompts go over the internet; on loopback, they do not. */
function isSafe(baseUrl: string): boolean {
  const { protocol, hostname } = new URL(baseUrl)
  return protocol === 'https:' || ['127.0.0.1', '[::1]', 'localhost'].includes(hostname)
}

/** Keeps origin and path: `http://host:8000/v1/` and `http://host:8000` are the same engine. */
export function parseEngineUrl(text: string): string {
  const url = URL.parse(text)
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw invalid('url', 'Give an address such as http://127.0.0.1:8000.')
  }
  if (url.username !== '' || url.password !== '') {
    throw invalid('url', 'Give the key by itself, not inside the address.')
  }
  return url.origin + url.pathname.replace(/\/+$/, '').replace(/\/v1$/, '')
}

function invalid(param: string, text: string): Fault {
  return new Fault({ code: 'client.invalid_request', public: text, param })
}
