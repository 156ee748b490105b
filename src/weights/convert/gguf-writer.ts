/**
 * Encodes the GGUF format, version 3: magic, counts, key-value pairs, tensor table, then each tensor's bytes at a multiple of 32. What goes
 * in alone decides the bytes that come out, so the checksum of a conversion can be known ahead. Pure.
 */
import { assert } from '../../platform/assert.ts'

export type GgufValue =
  | { readonly type: 'uint32' | 'float32'; readonly value: number }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'string-array'; readonly value: readonly string[] }
  | { readonly type: 'int32-array'; readonly value: readonly number[] }

export interface GgufTensor {
  readonly name: string
  readonly type: 'f32' | 'f16'
  /** Rows before columns; the file has them the other way round. */
  readonly shape: readonly number[]
  /** Called once, when its turn comes, so that one tensor at a time is in memory. */
  readonly encode: () => Uint8Array
}

const alignmentBytes = 32
const typeNumbers = { uint32: 4, int32: 5, float32: 6, bool: 7, string: 8, array: 9 } as const
const tensorTypes = {
  f32: { number: 0, elementBytes: 4 },
  f16: { number: 1, elementBytes: 2 },
} as const

/** Yields the file piece by piece. */
export function* encodeGguf(
  pairs: ReadonlyMap<string, GgufValue>,
  tensors: readonly GgufTensor[],
): Generator<Uint8Array> {
  const head = Buffer.concat([
    Buffer.from('GGUF'),
    uint32(3),
    uint64(tensors.length),
    uint64(pairs.size),
    ...[...pairs].flatMap(([key, value]) => [string(key), ...encodeValue(value)]),
    ...encodeTable(tensors),
  ])
  yield head
  yield padding(head.length)
  for (const tensor of tensors) {
    const bytes = tensor.encode()
    assert(bytes.length === tensorBytes(tensor), `${tensor.name} has the bytes of its shape`)
    yield bytes
    yield padding(bytes.length)
  }
}

function encodeTable(tensors: readonly GgufTensor[]): readonly Buffer[] {
  let offset = 0
  return tensors.flatMap((tensor) => {
    const at = offset
    offset += tensorBytes(tensor) + padding(tensorBytes(tensor)).length
    return [
      string(tensor.name),
      uint32(tensor.shape.length),
      ...tensor.shape.toReversed().map(uint64),
      uint32(tensorTypes[tensor.type].number),
      uint64(at),
    ]
  })
}

function tensorBytes({ shape, type }: GgufTensor): number {
  return shape.reduce((product, size) => product * size, tensorTypes[type].elementBytes)
}

function encodeValue(value: GgufValue): readonly Buffer[] {
  switch (value.type) {
    case 'uint32':
      return [uint32(typeNumbers.uint32), uint32(value.value)]
    case 'float32':
      return [uint32(typeNumbers.float32), float32(value.value)]
    case 'bool':
      return [uint32(typeNumbers.bool), Buffer.from([value.value ? 1 : 0])]
    case 'string':
      return [uint32(typeNumbers.string), string(value.value)]
    case 'string-array':
      return [...arrayHead('string', value.value.length), ...value.value.map(string)]
    case 'int32-array':
      return [...arrayHead('int32', value.value.length), ...value.value.map(int32)]
  }
}

function arrayHead(type: 'string' | 'int32', length: number): readonly Buffer[] {
  return [uint32(typeNumbers.array), uint32(typeNumbers[type]), uint64(length)]
}

function padding(length: number): Buffer {
  return Buffer.alloc((alignmentBytes - (length % alignmentBytes)) % alignmentBytes)
}

function string(text: string): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([uint64(bytes.length), bytes])
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32LE(value)
  return bytes
}

function uint64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

function float32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeFloatLE(value)
  return bytes
}
