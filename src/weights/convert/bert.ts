/**
 * Turns an embedder as its authors publish it (safetensors, word list, two small JSON files) into the GGUF that llama.cpp runs. Matrices
 * become 16-bit, the rest stays 32-bit. The same input always gives the same bytes. What is not a plain BERT with mean or
 * first-token pooling is refused: a wrong pooling would still give vectors, only bad ones. Pure.
 */
import { z } from 'zod'
import { Fault } from '../../platform/fault.ts'
import { encodeGguf, type GgufTensor, type GgufValue } from './gguf-writer.ts'
import { parseSafetensors, type Tensor } from './safetensors.ts'

export interface BertFiles {
  readonly weights: Uint8Array
  readonly vocabulary: string
  readonly config: string
  readonly pooling: string
}

/** Where the files lie, seen from `model.safetensors`. */
export const bertCompanions = ['vocab.txt', 'config.json', '1_Pooling/config.json'] as const

const positive = z.number().int().min(1).max(1_000_000)
const bertConfig = z.looseObject({
  model_type: z.literal('bert'),
  hidden_size: positive,
  intermediate_size: positive,
  num_hidden_layers: positive.max(1_000),
  num_attention_heads: positive,
  max_position_embeddings: positive,
  type_vocab_size: positive,
  vocab_size: positive,
  layer_norm_eps: z.number().positive(),
  hidden_act: z.literal('gelu'),
  position_embedding_type: z.literal('absolute').default('absolute'),
})
type BertConfig = z.infer<typeof bertConfig>

const poolingConfig = z.looseObject({
  pooling_mode_cls_token: z.boolean(),
  pooling_mode_mean_tokens: z.boolean(),
})

/** Yields the GGUF file piece by piece. Throws `upstream.invalid_response` for anything that is not such an embedder. */
export function* convertBert(files: BertFiles): Generator<Uint8Array> {
  const config = parse(bertConfig, files.config, 'config.json')
  const pooling = parse(poolingConfig, files.pooling, '1_Pooling/config.json')
  if (pooling.pooling_mode_cls_token === pooling.pooling_mode_mean_tokens) {
    throw unusable('it pools neither by mean nor by its first token')
  }
  const words = files.vocabulary.split('\n').map((line) => line.trimEnd())
  if (words.at(-1) === '') words.pop()
  if (words.length !== config.vocab_size) {
    throw unusable(`vocab.txt has ${words.length} words, config.json says ${config.vocab_size}`)
  }
  const pairs = describeModel(config, words, pooling.pooling_mode_mean_tokens ? 1 : 2)
  yield* encodeGguf(pairs, renameTensors(parseSafetensors(files.weights), config))
}

function parse<Schema extends z.ZodType>(
  schema: Schema,
  text: string,
  name: string,
): z.infer<Schema> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // The parser's message quotes the file; the fault below says which one it is.
  }
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const where = parsed.error.issues[0]?.path.join('.')
  throw unusable(`${name} is not that of a BERT embedder${where ? ` (${where})` : ''}`)
}

function describeModel(
  config: BertConfig,
  words: readonly string[],
  poolingType: 1 | 2,
): ReadonlyMap<string, GgufValue> {
  const special = (word: string): GgufValue => {
    const id = words.indexOf(word)
    if (id < 0) throw unusable(`vocab.txt lacks ${word}`)
    return uint32(id)
  }
  return new Map<string, GgufValue>([
    ['general.architecture', { type: 'string', value: 'bert' }],
    ['general.file_type', uint32(1)],
    ['bert.block_count', uint32(config.num_hidden_layers)],
    ['bert.context_length', uint32(config.max_position_embeddings)],
    ['bert.embedding_length', uint32(config.hidden_size)],
    ['bert.feed_forward_length', uint32(config.intermediate_size)],
    ['bert.attention.head_count', uint32(config.num_attention_heads)],
    ['bert.attention.layer_norm_epsilon', { type: 'float32', value: config.layer_norm_eps }],
    ['bert.attention.causal', { type: 'bool', value: false }],
    ['bert.pooling_type', uint32(poolingType)],
    ['tokenizer.ggml.model', { type: 'string', value: 'bert' }],
    ['tokenizer.ggml.tokens', { type: 'string-array', value: words.map(toGgufToken) }],
    ['tokenizer.ggml.token_type', { type: 'int32-array', value: words.map(tokenType) }],
    ['tokenizer.ggml.token_type_count', uint32(config.type_vocab_size)],
    ['tokenizer.ggml.bos_token_id', special('[CLS]')],
    ['tokenizer.ggml.cls_token_id', special('[CLS]')],
    ['tokenizer.ggml.eos_token_id', special('[SEP]')],
    ['tokenizer.ggml.seperator_token_id', special('[SEP]')],
    ['tokenizer.ggml.unknown_token_id', special('[UNK]')],
    ['tokenizer.ggml.padding_token_id', special('[PAD]')],
    ['tokenizer.ggml.mask_token_id', special('[MASK]')],
  ])
}

function uint32(value: number): GgufValue {
  return { type: 'uint32', value }
}

const controlWord = /^\[(CLS|SEP|UNK|PAD|MASK)\]$/
const normalType = 1
const controlType = 3

function tokenType(word: string): number {
  return controlWord.test(word) ? controlType : normalType
}

/** BERT marks what continues a word, llama.cpp what begins one. */
function toGgufToken(word: string): string {
  if (controlWord.test(word)) return word
  return word.startsWith('##') ? word.slice(2) : `\u2581${word}`
}

/** In llama.cpp's names, in the order of the network. */
function renameTensors(
  tensors: ReadonlyMap<string, Tensor>,
  config: BertConfig,
): readonly GgufTensor[] {
  const { hidden_size: width, intermediate_size: inner } = config
  const take = (from: string, to: string, shape: readonly number[]): GgufTensor => {
    // Some authors publish with the name of the class in front.
    const tensor = tensors.get(from) ?? tensors.get(`bert.${from}`)
    if (!tensor) throw unusable(`it has no tensor ${from}`)
    return toGgufTensor(tensor, to, shape)
  }
  const layer = (from: string, to: string, shape: readonly number[]): readonly GgufTensor[] => [
    take(`${from}.weight`, `${to}.weight`, shape),
    take(`${from}.bias`, `${to}.bias`, shape.slice(0, 1)),
  ]
  const block = (index: number): readonly GgufTensor[] => {
    const from = `encoder.layer.${index}`
    const to = `blk.${index}`
    return [
      ...layer(`${from}.attention.self.query`, `${to}.attn_q`, [width, width]),
      ...layer(`${from}.attention.self.key`, `${to}.attn_k`, [width, width]),
      ...layer(`${from}.attention.self.value`, `${to}.attn_v`, [width, width]),
      ...layer(`${from}.attention.output.dense`, `${to}.attn_output`, [width, width]),
      ...layer(`${from}.attention.output.LayerNorm`, `${to}.attn_output_norm`, [width]),
      ...layer(`${from}.intermediate.dense`, `${to}.ffn_up`, [inner, width]),
      ...layer(`${from}.output.dense`, `${to}.ffn_down`, [width, inner]),
      ...layer(`${from}.output.LayerNorm`, `${to}.layer_output_norm`, [width]),
    ]
  }
  return [
    take('embeddings.word_embeddings.weight', 'token_embd.weight', [config.vocab_size, width]),
    take('embeddings.position_embeddings.weight', 'position_embd.weight', [
      config.max_position_embeddings,
      width,
    ]),
    take('embeddings.token_type_embeddings.weight', 'token_types.weight', [
      config.type_vocab_size,
      width,
    ]),
    ...layer('embeddings.LayerNorm', 'token_embd_norm', [width]),
    ...Array.from({ length: config.num_hidden_layers }, (_, index) => block(index)).flat(),
  ]
}

/** llama.cpp adds these two to the activations, which it does in 32 bits only. */
const alwaysFloat32 = new Set(['position_embd.weight', 'token_types.weight'])

function toGgufTensor(tensor: Tensor, name: string, shape: readonly number[]): GgufTensor {
  const elements = shape.reduce((product, size) => product * size, 1)
  const elementBytes = tensor.type === 'F32' ? 4 : 2
  if (!['F32', 'F16'].includes(tensor.type)) throw unusable(`${tensor.name} is ${tensor.type}`)
  if (tensor.shape.join() !== shape.join() || tensor.bytes.length !== elements * elementBytes) {
    throw unusable(`${tensor.name} has another shape than config.json says`)
  }
  const type = shape.length > 1 && !alwaysFloat32.has(name) ? 'f16' : 'f32'
  return {
    name,
    type,
    shape,
    encode: () => {
      if (tensor.type === type.toUpperCase()) return tensor.bytes
      // Copied, because a view needs its numbers aligned.
      const { buffer } = new Uint8Array(tensor.bytes)
      const values = tensor.type === 'F32' ? new Float32Array(buffer) : new Float16Array(buffer)
      const converted = type === 'f16' ? new Float16Array(values) : new Float32Array(values)
      return new Uint8Array(converted.buffer)
    },
  }
}

function unusable(reason: string): Fault {
  return new Fault({
    code: 'upstream.invalid_response',
    public: `The model cannot be converted to GGUF: ${reason}. Choose a source with a .gguf file.`,
  })
}
