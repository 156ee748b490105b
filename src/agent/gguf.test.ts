import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readGgufFacts } from './gguf.ts'

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}
function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}
function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([u64(bytes.length), bytes])
}
const stringPair = (key: string, value: string) => Buffer.concat([text(key), u32(8), text(value)])
const numberPair = (key: string, value: number) => Buffer.concat([text(key), u32(4), u32(value)])
const boolPair = (key: string) => Buffer.concat([text(key), u32(7), Buffer.from([1])])
const stringsPair = (key: string, values: readonly string[]) =>
  Buffer.concat([text(key), u32(9), u32(8), u64(values.length), ...values.map(text)])
const numbersPair = (key: string, values: readonly number[]) =>
  Buffer.concat([text(key), u32(9), u32(4), u64(values.length), ...values.map(u32)])

function gguf(pairs: readonly Buffer[], count = pairs.length): Buffer {
  return Buffer.concat([Buffer.from('GGUF'), u32(3), u64(0), u64(count), ...pairs])
}

const directory = await mkdtemp(join(tmpdir(), 'colonnade-gguf-'))
let files = 0
async function factsOf(bytes: Buffer) {
  const path = join(directory, `${(files += 1)}.gguf`)
  await writeFile(path, bytes)
  return await readGgufFacts(path)
}

const llama = [
  stringPair('general.architecture', 'llama'),
  boolPair('tokenizer.ggml.add_bos_token'),
  stringsPair('tokenizer.ggml.tokens', ['<s>', 'Straße', 'x']),
  numbersPair('tokenizer.ggml.token_type', [1, 2, 3]),
  numberPair('llama.context_length', 2_048),
  numberPair('llama.block_count', 30),
  numberPair('llama.embedding_length', 576),
  numberPair('llama.attention.head_count', 9),
  numberPair('llama.attention.head_count_kv', 3),
]

test('a chat model tells its window and what a token costs in the cache', async () => {
  expect(await factsOf(gguf(llama))).toEqual({
    architecture: 'llama',
    contextWindowTokens: 2_048,
    embeddings: false,
    // 30 layers × 3 heads × (64 + 64) values × 2 bytes.
    cacheBytesPerToken: 23_040,
  })
})

test('an encoder, and a decoder that pools, only embed', async () => {
  const encoder = gguf([
    stringPair('general.architecture', 'bert'),
    numberPair('bert.context_length', 512),
  ])
  expect(await factsOf(encoder)).toMatchObject({ embeddings: true, contextWindowTokens: 512 })
  const pooling = gguf([
    stringPair('general.architecture', 'qwen3'),
    numberPair('qwen3.pooling_type', 3),
  ])
  expect(await factsOf(pooling)).toMatchObject({ embeddings: true })
})

test.each([
  ['an empty file', Buffer.alloc(0)],
  ['another format', Buffer.from('PK\u0003\u0004 and more bytes than a head needs')],
  ['a GGUF of the first version', Buffer.concat([Buffer.from('GGUF'), u32(1), u64(0), u64(0)])],
])('%s is no GGUF', async (_name, bytes) => {
  expect(await factsOf(bytes)).toBeUndefined()
})

test('a cut or lying file tells what it can, and never hangs or throws', async () => {
  const whole = gguf(llama, 2 ** 40)
  for (const length of [24, 30, 60, 100, 180, whole.length]) {
    expect(await factsOf(whole.subarray(0, length))).toBeDefined()
  }
  const huge = Buffer.concat([text('x'), u32(9), u32(8), u64(2 ** 50)])
  expect(await factsOf(gguf([stringPair('general.architecture', 'llama'), huge]))).toMatchObject({
    architecture: 'llama',
  })
})
