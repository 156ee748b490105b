/**
 * A model's tokens: text to ids, ids to bytes. Bytes, because one character may be spread over several tokens; who assembles
 * an answer joins bytes and decodes them when a character is whole.
 */
import type { NativeModel } from './native.ts'

/** Flags of llama.cpp's `llama_token_attr`. */
const controlAttribute = 1 << 3
const userDefinedAttribute = 1 << 4

/** Control tokens that a reader of tool calls must see; all others (turn ends, padding) are not part of a text. */
const visibleControl = /tool|python_tag|\bargs\b|think/i
/** User-defined tokens that act as markup; others are mere abbreviations, of runs of spaces for instance. */
const markup = /^[<[{|].*[>\]}|]$/s
/** Characters of Unicode's private use area that stand for a marker while a template is rendered. */
const sentinelStart = 0xf0000
const sentinelsMax = 0xfffd

export interface Vocabulary {
  readonly size: number
  readonly bosText: string
  readonly eosText: string
  readonly endTokens: readonly number[]
  isEnd(token: number): boolean
  /** The bytes that the token adds to a text; none for control tokens. */
  bytesOf(token: number): Buffer
  /** The token's own spelling, control tokens included. */
  spellingOf(token: number): Buffer
  /** Replaces the spelling of markers (`<|im_end|>`) in untrusted text, so that `tokenizePrompt` reads them as plain text. */
  shield(text: string): string
  /** Ids of a rendered prompt: markers of the template count as such, shielded ones do not. */
  tokenizePrompt(rendered: string): Uint32Array
  tokenizeText(text: string): Uint32Array
  /** A text that the model shall go on with: markers count, wherever they come from. Never empty. */
  tokenizeRaw(text: string): Uint32Array
  /** What the model reads to fill in between two texts; `undefined` for models that were not taught to. */
  tokenizeGap(before: string, after: string): Uint32Array | undefined
}

export function createVocabulary(model: NativeModel, size: number): Vocabulary {
  const endTokens: number[] = []
  const controls = new Set<number>()
  const markers: string[] = []
  for (let token = 0; token < size; token += 1) {
    const attributes = model.getTokenAttributes(token)
    const isControl = (attributes & controlAttribute) !== 0
    if (model.isEogToken(token)) endTokens.push(token)
    if (isControl) controls.add(token)
    if (!isControl && (attributes & userDefinedAttribute) === 0) continue
    const text = model.getTokenString(token) ?? ''
    if (text !== '' && (isControl || markup.test(text))) markers.push(text)
  }
  const ends = new Set(endTokens)
  const shields = createShields(markers)
  const spellings = createSpellings(model)
  const nothing = Buffer.alloc(0)
  const textOf = (token: number): string =>
    token < 0 || token >= size ? '' : model.detokenize(Uint32Array.of(token), true)

  /** The text may begin with it already; twice would shift the model off its training. */
  const withBos = (tokens: Uint32Array): Uint32Array => {
    const bos = model.tokenBos()
    const needsBos = model.shouldPrependBosToken() && tokens[0] !== bos
    return needsBos ? joined([Uint32Array.of(bos), tokens]) : tokens
  }

  return {
    size,
    bosText: textOf(model.tokenBos()),
    eosText: textOf(model.tokenEos()),
    endTokens,
    isEnd: (token) => ends.has(token),
    bytesOf(token) {
      if (!controls.has(token)) return spellings(token)
      const isVisible = !ends.has(token) && visibleControl.test(model.getTokenString(token) ?? '')
      return isVisible ? spellings(token) : nothing
    },
    spellingOf: spellings,
    shield: shields.apply,
    tokenizePrompt(rendered) {
      const pieces = shields
        .split(rendered)
        .map(({ text, isMarker }) => model.tokenize(text, !isMarker))
      return withBos(joined(pieces))
    },
    tokenizeText: (text) => model.tokenize(text, false),
    tokenizeRaw(text) {
      const tokens = withBos(model.tokenize(text, true))
      // Where nothing is said, the model begins a text of its own.
      const [bos, eos] = [model.tokenBos(), model.tokenEos()]
      return tokens.length > 0 ? tokens : Uint32Array.of(bos >= 0 ? bos : eos)
    },
    tokenizeGap(before, after) {
      const marks = [model.prefixToken(), model.suffixToken(), model.middleToken()]
      const [prefix = -1, suffix = -1, middle = -1] = marks
      if (marks.some((mark) => mark < 0 || mark >= size)) return undefined
      return withBos(
        joined([
          Uint32Array.of(prefix),
          model.tokenize(before, false),
          Uint32Array.of(suffix),
          model.tokenize(after, false),
          Uint32Array.of(middle),
        ]),
      )
    },
  }
}

interface Shields {
  apply(text: string): string
  split(rendered: string): readonly { text: string; isMarker: boolean }[]
}

function createShields(all: readonly string[]): Shields {
  // Longest first: a marker may begin with another one.
  const markers = [...new Set(all)].toSorted((a, b) => b.length - a.length).slice(0, sentinelsMax)
  if (markers.length === 0) {
    return { apply: (text) => text, split: (text) => [{ text, isMarker: false }] }
  }
  const sentinelOf = new Map(
    markers.map((marker, index) => [marker, String.fromCodePoint(sentinelStart + index)]),
  )
  const pattern = new RegExp(markers.map((marker) => RegExp.escape(marker)).join('|'), 'g')
  const sentinels = new RegExp(
    `([\\u{${sentinelStart.toString(16)}}-\\u{${(sentinelStart + markers.length - 1).toString(16)}}])`,
    'u',
  )
  return {
    apply: (text) => text.replace(pattern, (marker) => sentinelOf.get(marker) ?? marker),
    split: (rendered) =>
      rendered.split(sentinels).flatMap((text) => {
        if (text === '') return []
        const marker = sentinels.test(text)
          ? markers[(text.codePointAt(0) ?? 0) - sentinelStart]
          : undefined
        return [{ text: marker ?? text, isMarker: marker !== undefined }]
      }),
  }
}

/** Returns a lookup of token bytes that asks the model once for each token. */
function createSpellings(model: NativeModel): (token: number) => Buffer {
  const known: (Buffer | undefined)[] = []
  // Tokenizers of the SentencePiece family drop the space before the first token; an anchor in front keeps it.
  const anchor = model.tokenize('a', false).at(-1) ?? 0
  const anchorLength = model.detokenize(Uint32Array.of(anchor), true).length
  const spell = (token: number): Buffer => {
    const text = model.detokenize(Uint32Array.of(anchor, token), true).slice(anchorLength)
    if (!text.includes('\uFFFD')) return Buffer.from(text)
    return partialBytes(model.getTokenString(token) ?? '') ?? Buffer.from(text)
  }
  return (token) => (known[token] ??= spell(token))
}

/** The bytes of a token that is not whole UTF-8, from its entry in the vocabulary: `<0xE2>`, or GPT-2's byte alphabet. */
export function partialBytes(entry: string): Buffer | undefined {
  const single = /^<0x([0-9A-Fa-f]{2})>$/.exec(entry)?.[1]
  if (single !== undefined) return Buffer.from(single, 'hex')
  const bytes = Array.from(entry).map((character) => byteAlphabet.get(character))
  return bytes.some((byte) => byte === undefined)
    ? undefined
    : Buffer.from(bytes.filter((byte) => byte !== undefined))
}

/** GPT-2 writes printable bytes as themselves and the others as the characters from U+0100 on, in order. */
const byteAlphabet: ReadonlyMap<string, number> = new Map(
  (() => {
    let shifted = 0x100
    return Array.from({ length: 256 }, (_, byte): [string, number] => [
      String.fromCodePoint(isPrintable(byte) ? byte : shifted++),
      byte,
    ])
  })(),
)

function isPrintable(byte: number): boolean {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae
}

function joined(parts: readonly Uint32Array[]): Uint32Array {
  if (parts.length === 1 && parts[0]) return parts[0]
  const all = new Uint32Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
