import { expect, test } from 'vitest'
import { readUpload } from './file-upload.ts'

const boundary = 'b0undary'
const headers = { 'content-type': `multipart/form-data; boundary=${boundary}` }
const limits = { field: 'file', fileBytesMax: 1_000_000 }
const part = (head: string, content: string): string =>
  `--${boundary}\r\ncontent-disposition: form-data; ${head}\r\n\r\n${content}\r\n`
const end = `--${boundary}--\r\n`
const filePart = part('name="file"; filename="in.jsonl"', 'one\r\ntwo\n')

async function read(form: string, pieceLength: number, bounds = limits) {
  const bytes = Buffer.from(form)
  async function* pieces(): AsyncGenerator<Buffer> {
    for (let at = 0; at < bytes.length; at += pieceLength)
      yield bytes.subarray(at, at + pieceLength)
  }
  const kept: Buffer[] = []
  const upload = await readUpload(pieces(), headers, bounds, async (piece) => {
    kept.push(piece)
  })
  return { ...upload, content: Buffer.concat(kept).toString() }
}

test('a form is the same however its bytes arrive, and whatever comes first', async () => {
  const purpose = part('name="purpose"', 'batch')
  for (const form of [purpose + filePart + end, filePart + purpose + end])
    for (let pieceLength = 1; pieceLength < 200; pieceLength += 7)
      expect(await read(form, pieceLength)).toEqual({
        fileName: 'in.jsonl',
        fields: new Map([['purpose', 'batch']]),
        content: 'one\r\ntwo\n',
      })
})

test('a file of exactly the limit is taken, one byte more is refused', async () => {
  const form = (length: number): string =>
    part('name="file"; filename="x"', 'x'.repeat(length)) + end
  expect((await read(form(100), 30, { ...limits, fileBytesMax: 100 })).content).toHaveLength(100)
  await expect(read(form(101), 30, { ...limits, fileBytesMax: 100 })).rejects.toMatchObject({
    code: 'client.body_too_large',
  })
})

test.each([
  ['without a file', part('name="purpose"', 'batch') + end],
  ['with two files', filePart + filePart + end],
  ['with its file in another field', part('name="data"; filename="x"', 'x') + end],
  ['with a field that is too long', part('name="purpose"', 'x'.repeat(2_000)) + filePart + end],
  ['that is cut off', filePart],
  ['that is no form', 'garbage'],
  ['that is empty', ''],
])('a form %s is refused', async (_, form) => {
  await expect(read(form, 50)).rejects.toMatchObject({ code: 'client.invalid_request' })
})

test('a form without a boundary is refused', async () => {
  const pieces = async function* (): AsyncGenerator<Buffer> {}
  const bare = { 'content-type': 'multipart/form-data' }
  await expect(readUpload(pieces(), bare, limits, async () => {})).rejects.toMatchObject({
    code: 'client.invalid_request',
  })
})

test('the file is taken at the pace at which it is kept', async () => {
  let keeping = 0
  let mostAtOnce = 0
  async function* pieces(): AsyncGenerator<Buffer> {
    yield Buffer.from(
      `--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="x"\r\n\r\n`,
    )
    for (let index = 0; index < 20; index += 1) {
      expect(keeping).toBe(0)
      yield Buffer.alloc(10_000, 'x')
    }
    yield Buffer.from(`\r\n${end}`)
  }
  await readUpload(pieces(), headers, limits, async () => {
    keeping += 1
    mostAtOnce = Math.max(mostAtOnce, keeping)
    await new Promise((resolve) => setImmediate(resolve))
    keeping -= 1
  })
  expect(mostAtOnce).toBe(1)
})
