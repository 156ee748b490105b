/** Anthropic's service (platform.claude.com/docs/en/api/overview, ".../versioning"). */
import type { EngineAdapter } from '../engine.ts'
import { anthropicMessages } from '../protocol/anthropic/messages.ts'
import { connectEngine } from '../protocol/connection.ts'
import { singleChoice } from '../protocol/single-choice.ts'
import {
  checkPlainKey,
  outputTokensSetting,
  providerTraits,
  settingOf,
} from '../protocol/vendor/provider.ts'

const version = '2023-06-01'
/** All models since Claude 4 can say as much. */
const outputTokensDefault = 32_000

export const anthropic: EngineAdapter = {
  kind: 'anthropic',
  connect: (address) =>
    connectEngine(address, {
      ...providerTraits,
      kind: 'anthropic',
      dialects: {
        chat: singleChoice(
          anthropicMessages({
            thinking: settingOf(address, 'thinking') === 'budget' ? 'budget' : 'adaptive',
            outputTokensDefault: Number(settingOf(address, 'outputTokens') ?? outputTokensDefault),
          }),
        ),
      },
      authorize: () =>
        Promise.resolve({ 'x-api-key': address.apiKey ?? '', 'anthropic-version': version }),
      tooLongText: /^prompt is too long|exceed context limit/,
    }),
  provider: {
    operator: 'anthropic',
    settings: {
      outputTokens: outputTokensSetting,
      thinking: {
        pattern: /^(adaptive|budget)$/,
        required: false,
        means: 'adaptive (default), or budget for models before Claude Opus 4.6',
      },
    },
    baseUrl: () => 'https://api.anthropic.com',
    checkKey: checkPlainKey,
    // Aliases work, and are not listed.
    listsAllModels: false,
  },
}
