/** How the next token is chosen: a request's parameters in the terms of llama.cpp's samplers. Pure. */
import type { SamplerConfig } from './native.ts'

export interface SamplingParameters {
  readonly temperature: number | undefined
  readonly topP: number | undefined
  readonly topK: number | undefined
  readonly minP: number | undefined
  /** `undefined` draws one at random. */
  readonly seed: number | undefined
  readonly repetitionPenalty: number | undefined
  readonly presencePenalty: number | undefined
  readonly frequencyPenalty: number | undefined
  readonly bias: ReadonlyMap<number, number>
}

/** OpenAI's defaults would let a small model pick any of its 50,000 tokens; these are llama.cpp's, and cut only the tail. */
const topKDefault = 40
const minPDefault = 0.05
const temperatureDefault = 1
/** OpenAI's scale ends here, and documents it as a ban. */
const banBias = -100
/** llama.cpp reads the largest one as "random". */
const seedsMax = 0xffff_ffff

/** `seed` is the request's, or a random one; `windowTokens` bounds what the penalties look back on: the answer, not the prompt. */
export function toSamplerConfig(
  parameters: SamplingParameters,
  seed: number,
  windowTokens: number,
): SamplerConfig {
  const { temperature = temperatureDefault, topP, bias } = parameters
  return {
    temperature,
    ...(temperature > 0
      ? {
          topK: parameters.topK ?? topKDefault,
          minP: parameters.minP ?? minPDefault,
          ...(topP === undefined || topP >= 1 ? {} : { topP }),
          seed: foldSeed(seed),
        }
      : { seed: 0 }),
    ...penalties(parameters, windowTokens),
    ...(bias.size === 0
      ? {}
      : {
          tokenBiasKeys: Uint32Array.from(bias.keys()),
          tokenBiasValues: Float32Array.from(bias.values(), (value) =>
            value <= banBias ? -Infinity : value,
          ),
        }),
  }
}

function penalties(parameters: SamplingParameters, windowTokens: number): SamplerConfig {
  const { repetitionPenalty = 1, presencePenalty = 0, frequencyPenalty = 0 } = parameters
  if (repetitionPenalty === 1 && presencePenalty === 0 && frequencyPenalty === 0) return {}
  return {
    repeatPenalty: repetitionPenalty,
    repeatPenaltyPresencePenalty: presencePenalty,
    repeatPenaltyFrequencyPenalty: frequencyPenalty,
    repeatPenaltyMaxTokens: windowTokens,
    repeatPenaltyTokens: new Uint32Array(0),
  }
}

/** Any safe integer, folded evenly into the 32 bits that the sampler takes. */
export function foldSeed(seed: number): number {
  return ((seed % seedsMax) + seedsMax) % seedsMax
}
