/**
 * Input tokens before any engine has counted them. The estimate is what a request is billed for when nobody can tell the true
 * count any more; the upper bound is what a hold covers and what a claim may not exceed.
 */

/** English prose has about 4.5 bytes for a token, German 3.5, code 3; a character of CJK, three bytes, is about one token. */
const bytesPerToken = 3.5
/** Role, separators and the turn's end in common chat templates. */
const tokensPerMessage = 6
/** A template's own system text, and the frame around tools. */
const templateTokensMax = 2_048
/** An image or a sound is counted by its own rules; no common one costs more than this. */
const tokensPerMediaMax = 20_000

interface Size {
  textBytes: number
  messages: number
  media: number
  tokens: number
}

export function estimateInputTokens(body: Readonly<Record<string, unknown>>): number {
  const size = measure(body)
  return Math.max(
    1,
    Math.ceil(size.textBytes / bytesPerToken) +
      size.messages * tokensPerMessage +
      size.tokens +
      size.media * 1_000,
  )
}

/** A token stands for at least one byte of text, and a template adds a bounded frame. */
export function inputTokensUpperBound(body: Readonly<Record<string, unknown>>): number {
  const size = measure(body)
  return (
    size.textBytes +
    size.messages * 64 +
    size.tokens +
    size.media * tokensPerMediaMax +
    templateTokensMax
  )
}

/** Walks what an engine turns into tokens: messages, tools, schemas, embedding inputs. Bounded by the parser's limits. */
function measure(body: Readonly<Record<string, unknown>>): Size {
  const size: Size = { textBytes: 0, messages: 0, media: 0, tokens: 0 }
  for (const key of ['messages', 'tools', 'response_format', 'input']) {
    const value = body[key]
    if (Array.isArray(value)) size.messages += typeof value[0] === 'number' ? 1 : value.length
    walk(value, size)
  }
  return size
}

function walk(value: unknown, size: Size): void {
  if (typeof value === 'string') {
    if (value.startsWith('data:')) size.media += 1
    else size.textBytes += Buffer.byteLength(value)
  } else if (typeof value === 'number') size.tokens += 1
  else if (Array.isArray(value)) for (const item of value) walk(item, size)
  else if (typeof value === 'object' && value !== null) {
    for (const [key, item] of Object.entries(value)) {
      size.textBytes += key.length + 4
      walk(item, size)
    }
  }
}
