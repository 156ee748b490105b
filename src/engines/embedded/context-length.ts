/** Refusing what does not fit into the model's window, before it costs time. Pure. */
import { Fault } from '../../platform/fault.ts'

/** No language comes near; runs of spaces do. */
export const charactersPerTokenMax = 64
const sliceCharacters = 16_384
/** A cut through a word makes tokens that the whole text would not have. */
const tokensPerCut = 4

export interface LengthLimit {
  readonly windowTokens: number
  readonly param: string
  /** `your messages`, `input 3`: what is too long. */
  readonly subject: string
}

/** The caller may shorten it by what the text says. */
export function tooLong(limit: LengthLimit, tokens: number, isExact: boolean): Fault {
  const count = `${isExact ? '' : 'more than '}${tokens} tokens`
  return new Fault({
    code: 'client.context_length_exceeded',
    public:
      `This model's maximum context length is ${limit.windowTokens} tokens. ` +
      `However, ${limit.subject} resulted in ${count}. Please reduce the length.`,
    param: limit.param,
  })
}

/** Tokenizing stops all answers for its time, so hopeless texts are not tokenized whole. */
export function refuseHopeless(
  limit: LengthLimit,
  text: string,
  tokenize: (slice: string) => Uint32Array,
): void {
  const { windowTokens } = limit
  if (text.length <= windowTokens) return
  if (text.length > windowTokens * charactersPerTokenMax) throw tooLong(limit, windowTokens, false)
  if (text.length <= sliceCharacters) return
  let tokens = 0
  for (let at = 0; at < text.length; at += sliceCharacters) {
    tokens += tokenize(text.slice(at, at + sliceCharacters)).length - tokensPerCut
    if (tokens > windowTokens) throw tooLong(limit, windowTokens, false)
  }
}
