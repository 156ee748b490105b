/** Reads the safetensors format: eight bytes of length, a JSON header of that length, then flat little-endian arrays. Pure. */
import { z } from 'zod'
import { Fault } from '../../platform/fault.ts'

export interface Tensor {
  readonly name: string
  readonly type: string
  /** Rows before columns. */
  readonly shape: readonly number[]
  readonly bytes: Uint8Array
}

const headerBytesMax = 16 * 1024 * 1024
const tensorsMax = 100_000

const header = z.record(
  z.string(),
  z.looseObject({
    dtype: z.string().optional(),
    shape: z.array(z.number().int().min(0)).optional(),
    data_offsets: z.tuple([z.number().int().min(0), z.number().int().min(0)]).optional(),
  }),
)

/** Returns the tensors by name, as views of the given bytes. Throws `upstream.invalid_response` when the file is not sound. */
export function parseSafetensors(file: Uint8Array): ReadonlyMap<string, Tensor> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const headerBytes = file.byteLength < 8 ? -1 : Number(view.getBigUint64(0, true))
  if (headerBytes < 2 || headerBytes > headerBytesMax || 8 + headerBytes > file.byteLength) {
    throw unsound('the length of its header is impossible')
  }
  const entries = Object.entries(parseHeader(file.subarray(8, 8 + headerBytes)))
  if (entries.length > tensorsMax) throw unsound('it has too many tensors')
  const flat = file.subarray(8 + headerBytes)
  const tensors = new Map<string, Tensor>()
  for (const [name, { dtype, shape, data_offsets: offsets }] of entries) {
    if (name === '__metadata__') continue
    if (!dtype || !shape || !offsets) throw unsound('a tensor has no type, shape or place')
    const [from, to] = offsets
    if (from > to || to > flat.byteLength) throw unsound('a tensor lies outside of the file')
    tensors.set(name, { name, type: dtype, shape, bytes: flat.subarray(from, to) })
  }
  return tensors
}

function parseHeader(bytes: Uint8Array): z.infer<typeof header> {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    // The parser's message quotes the file; that it is no JSON says enough.
    throw unsound('its header is not JSON')
  }
  const parsed = header.safeParse(value)
  if (!parsed.success) throw unsound('its header does not describe tensors')
  return parsed.data
}

function unsound(reason: string): Fault {
  return new Fault({
    code: 'upstream.invalid_response',
    public: `The safetensors file cannot be read: ${reason}.`,
  })
}
