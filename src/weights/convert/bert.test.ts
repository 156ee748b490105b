import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { convertBert, type BertFiles } from './bert.ts'

const words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'hello', '##s', 'é']
const width = 4
const inner = 8

/** A network of one block, whose numbers count up. */
function tinyBert(change: Partial<BertFiles> = {}): BertFiles {
  const norm = (name: string): [string, number[]][] => [
    [`${name}.weight`, [width]],
    [`${name}.bias`, [width]],
  ]
  const dense = (name: string, rows: number, columns: number): [string, number[]][] => [
    [`${name}.weight`, [rows, columns]],
    [`${name}.bias`, [rows]],
  ]
  const block = 'encoder.layer.0'
  return {
    weights: safetensors([
      ['embeddings.word_embeddings.weight', [words.length, width]],
      ['embeddings.position_embeddings.weight', [16, width]],
      ['embeddings.token_type_embeddings.weight', [2, width]],
      ...norm('embeddings.LayerNorm'),
      ...['query', 'key', 'value'].flatMap((name) =>
        dense(`${block}.attention.self.${name}`, width, width),
      ),
      ...dense(`${block}.attention.output.dense`, width, width),
      ...norm(`${block}.attention.output.LayerNorm`),
      ...dense(`${block}.intermediate.dense`, inner, width),
      ...dense(`${block}.output.dense`, width, inner),
      ...norm(`${block}.output.LayerNorm`),
    ]),
    vocabulary: `${words.join('\n')}\n`,
    config: JSON.stringify(tinyConfig),
    pooling: JSON.stringify({ pooling_mode_cls_token: false, pooling_mode_mean_tokens: true }),
    ...change,
  }
}

const tinyConfig = {
  model_type: 'bert',
  hidden_size: width,
  intermediate_size: inner,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  max_position_embeddings: 16,
  type_vocab_size: 2,
  vocab_size: words.length,
  layer_norm_eps: 1e-12,
  hidden_act: 'gelu',
}

function safetensors(tensors: readonly (readonly [string, readonly number[]])[]): Buffer {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } }
  let offset = 0
  for (const [name, shape] of tensors) {
    const bytes = shape.reduce((product, size) => product * size, 4)
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + bytes] }
    offset += bytes
  }
  const head = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(head.length))
  const values = Float32Array.from({ length: offset / 4 }, (_, index) => index / 8)
  return Buffer.concat([length, head, new Uint8Array(values.buffer)])
}

function convert(files: BertFiles): Buffer {
  return Buffer.concat([...convertBert(files)])
}

test('the same input gives the same bytes', () => {
  const gguf = convert(tinyBert())
  expect(gguf.equals(convert(tinyBert()))).toBe(true)
  expect(gguf.subarray(0, 4).toString()).toBe('GGUF')
  expect(gguf.length % 32).toBe(0)
  expect(createHash('sha256').update(gguf).digest('hex')).toMatchInlineSnapshot(
    `"63d4bc11aa5d8ea3c48b288b50b07011866e04bcb8d420769fdc2cc18f3a98f2"`,
  )
})

test('words are marked where they begin, not where they go on', () => {
  const gguf = convert(tinyBert())
  for (const token of ['\u2581hello', '\u2581é', '[CLS]']) expect(gguf.includes(token)).toBe(true)
  expect(gguf.includes('##s')).toBe(false)
})

test('matrices are 16-bit, and their numbers survive', () => {
  const gguf = convert(tinyBert())
  // The word embeddings come first: 0, 1/8, 2/8, … are exact in 16 bits.
  const expected = Float16Array.from({ length: words.length * width }, (_, index) => index / 8)
  expect(gguf.includes(Buffer.from(expected.buffer))).toBe(true)
})

const sound = tinyBert()
test.each<[string, Partial<BertFiles>]>([
  ['a file that is cut', { weights: sound.weights.subarray(0, sound.weights.length - 1) }],
  ['a file without a header', { weights: Buffer.from('x') }],
  ['a header longer than the file', { weights: Buffer.alloc(16, 0x20) }],
  ['a page of HTML', { weights: Buffer.from('<html>'.repeat(100)) }],
  ['too few words', { vocabulary: words.slice(1).join('\n') }],
  ['words without [CLS]', { vocabulary: words.map((word) => word.toLowerCase()).join('\n') }],
  ['another architecture', { config: JSON.stringify({ ...tinyConfig, model_type: 'roberta' }) }],
  ['another width', { config: JSON.stringify({ ...tinyConfig, hidden_size: 8 }) }],
  [
    'more blocks than there are',
    { config: JSON.stringify({ ...tinyConfig, num_hidden_layers: 2 }) },
  ],
  ['a configuration that is no JSON', { config: '{' }],
  [
    'pooling by maximum',
    {
      pooling: JSON.stringify({ pooling_mode_cls_token: false, pooling_mode_mean_tokens: false }),
    },
  ],
])('%s is refused, and never becomes a model', (_, change) => {
  expect(() => convert(tinyBert(change))).toThrow(
    expect.objectContaining({ code: 'upstream.invalid_response' }),
  )
})
