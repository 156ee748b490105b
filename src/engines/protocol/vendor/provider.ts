/** What connections to providers have in common. */
import { Fault } from '../../../platform/fault.ts'
import type { EngineAddress, ProviderSetting } from '../../engine.ts'

/** Over the internet, with a handshake. */
export const providerConnectTimeoutMs = 5_000

/** Strict services refuse what they do not know, so neither running totals nor salts are sent; their texts may quote prompts. */
export const providerTraits = {
  continuousUsage: false,
  cacheSalt: false,
  relaysErrorTexts: false,
  connectTimeoutMs: providerConnectTimeoutMs,
} as const

/** What a key may look like where nothing more is known of it. */
export function checkPlainKey(key: string): string | undefined {
  return /^[\x21-\x7e]{8,4000}$/.test(key) ? undefined : 'The key must be one line without spaces.'
}

/** Of an engine whose key cannot be used: it was checked when it was added, so it has been damaged since. */
export function unusableKey(): Promise<never> {
  return Promise.reject(
    new Fault({
      code: 'upstream.failed',
      public: 'The service behind this model cannot be asked. Ask your provider.',
      internal: 'the key of this engine cannot be used: add the engine again, with its key',
    }),
  )
}

export function settingOf(address: EngineAddress, name: string): string | undefined {
  return address.settings?.[name]
}

/** Whole numbers of tokens. */
export const outputTokensSetting: ProviderSetting = {
  pattern: /^[1-9]\d{2,6}$/,
  required: false,
  means: 'the bound on output where a request names none, such as 32000',
}
