/** Events with one value of another kind, and events that are none. */
import { EventStreamCodec } from '@smithy/eventstream-codec'
import type { WireEvent } from './fixture.ts'

/** As it stands in JSON: too large for a double is not writable otherwise. */
const hostileValues = [
  'null',
  '-1',
  '1e999',
  '"x"',
  '[]',
  '{}',
  'true',
  '1e15',
  '0.5',
  '[[null]]',
  '"constructor"',
]
const valuesEach = 3
const mark = '\u0001hostile\u0001'

export const codec = new EventStreamCodec(
  (bytes) => Buffer.from(bytes as Uint8Array).toString('utf8'),
  (text) => Buffer.from(text, 'utf8'),
)

/** The event, each time with one value replaced. */
export function* withHostileValues(event: WireEvent): Generator<WireEvent> {
  const found = findJson(event)
  if (!found) return
  let turn = 0
  for (const path of pathsOf(found.value)) {
    for (let count = 0; count < valuesEach; count += 1) {
      const hostile = hostileValues[turn % hostileValues.length] ?? 'null'
      turn += 1
      const text = JSON.stringify(replaced(found.value, path, mark))
      yield found.write(text.replace(JSON.stringify(mark), hostile))
    }
  }
}

/** Whole events that are nothing that can be used. */
export function* withoutMeaning(event: WireEvent): Generator<WireEvent> {
  const found = findJson(event)
  if (!found) return
  const texts = ['null', '[]', '"x"', '7', '{', '{}', `${'['.repeat(5_000)}${']'.repeat(5_000)}`]
  for (const text of texts) yield found.write(text)
}

interface FoundJson {
  readonly value: unknown
  /** The same event around another text. */
  write(text: string): WireEvent
}

function findJson(event: WireEvent): FoundJson | undefined {
  if (typeof event !== 'string') return findInFrame(event)
  // From the first bracket to the end of its line.
  const [json] = /[{[].*/.exec(event) ?? []
  if (json === undefined) return undefined
  try {
    return { value: JSON.parse(json), write: (text) => event.replace(json, () => text) }
  } catch {
    return undefined
  }
}

/** Bytes that are no frame, such as those of a sound, hold no JSON. */
function findInFrame(frame: Uint8Array): FoundJson | undefined {
  try {
    const { headers, body } = codec.decode(frame)
    return {
      value: JSON.parse(Buffer.from(body).toString('utf8')),
      write: (text) => codec.encode({ headers, body: Buffer.from(text) }),
    }
  } catch {
    return undefined
  }
}

type Path = readonly (string | number)[]

function* pathsOf(value: unknown, path: Path = []): Generator<Path> {
  if (path.length > 0) yield path
  if (typeof value !== 'object' || value === null) return
  for (const [key, inner] of Object.entries(value)) {
    yield* pathsOf(inner, [...path, Array.isArray(value) ? Number(key) : key])
  }
}

function replaced(value: unknown, [step, ...rest]: Path, by: unknown): unknown {
  if (step === undefined) return by
  if (Array.isArray(value))
    return value.map((inner, index) => (index === step ? replaced(inner, rest, by) : inner))
  return Object.fromEntries(
    Object.entries(Object(value)).map(([key, inner]) => [
      key,
      key === step ? replaced(inner, rest, by) : inner,
    ]),
  )
}
