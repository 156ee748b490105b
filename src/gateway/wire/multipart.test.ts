import { expect, test } from 'vitest'
import { readForm, type Form } from './multipart.ts'

const limits = { fileBytesMax: 1_000_000, filesMax: 2 }
const headers = { 'content-type': 'multipart/form-data; boundary=xyz' }

interface Part {
  readonly name: string
  readonly value: string | Buffer
  readonly fileName?: string
}

function toBody(parts: readonly Part[], boundary = 'xyz'): Buffer {
  const pieces = parts.flatMap(({ name, value, fileName }) => {
    const file = fileName === undefined ? '' : `; filename="${fileName}"`
    const head = `--${boundary}\r\nContent-Disposition: form-data; name="${name}"${file}\r\n\r\n`
    return [Buffer.from(head), Buffer.from(value), Buffer.from('\r\n')]
  })
  return Buffer.concat([...pieces, Buffer.from(`--${boundary}--\r\n`)])
}

const read = (parts: readonly Part[]): Promise<Form> => readForm([toBody(parts)], headers, limits)

test('fields and files are found in any order, and lists are gathered under one name', async () => {
  const form = await read([
    { name: 'list[]', value: 'a' },
    { name: 'file', value: Buffer.from([0, 13, 10, 45, 45, 255]), fileName: 'a/b/sound.wav' },
    { name: 'list[1]', value: 'b' },
    { name: 'plain', value: 'ü\r\nx' },
    { name: '__proto__', value: 'kept as a name' },
  ])
  expect(form.fields.get('list')).toEqual(['a', 'b'])
  expect(form.fields.get('plain')).toEqual(['ü\r\nx'])
  expect(form.fields.get('__proto__')).toEqual(['kept as a name'])
  expect(form.files).toMatchObject([{ field: 'file', fileName: 'sound.wav' }])
  expect([...(form.files[0]?.bytes ?? [])]).toEqual([0, 13, 10, 45, 45, 255])
})

test('a file across many slices comes whole, also where a slice ends in its boundary', async () => {
  for (const length of [64 * 1024 - 90, 64 * 1024 - 80, 64 * 1024, 999_999]) {
    const bytes = Buffer.alloc(length, '\r\n--xy')
    const form = await read([{ name: 'file', value: bytes, fileName: 'x' }])
    expect(form.files[0]?.bytes.equals(bytes)).toBe(true)
  }
})

const refused: readonly { name: string; body: () => Buffer; status: number; param?: string }[] = [
  {
    name: 'a file one byte too large',
    body: () => toBody([{ name: 'file', value: Buffer.alloc(1_000_001), fileName: 'x' }]),
    status: 413,
    param: 'file',
  },
  {
    name: 'three files',
    body: () =>
      toBody([1, 2, 3].map((index) => ({ name: 'file', value: `${index}`, fileName: 'x' }))),
    status: 400,
  },
  {
    name: 'a thousand fields',
    body: () => toBody(Array.from({ length: 1_000 }, () => ({ name: 'a', value: 'b' }))),
    status: 400,
  },
  {
    name: 'a huge field',
    body: () => toBody([{ name: 'prompt', value: 'x'.repeat(1024 * 1024 + 1) }]),
    status: 400,
    param: 'prompt',
  },
  {
    name: 'a body without an end',
    body: () => toBody([{ name: 'file', value: 'abc', fileName: 'x' }]).subarray(0, -10),
    status: 400,
  },
  {
    name: 'another boundary',
    body: () => toBody([{ name: 'a', value: 'b' }], 'other'),
    status: 400,
  },
  {
    name: 'a broken part header',
    body: () => Buffer.from('--xyz\r\nbroken\r\r\n\r\nx\r\n--xyz--\r\n'),
    status: 400,
  },
  { name: 'nothing', body: () => Buffer.alloc(0), status: 400 },
]
for (const { name, body, status, param } of refused) {
  test(`a form is refused: ${name}`, async () => {
    await expect(readForm([body()], headers, limits)).rejects.toMatchObject({ status, param })
  })
}

test('a file of exactly the limit passes', async () => {
  const value = Buffer.alloc(limits.fileBytesMax)
  const form = await read([{ name: 'file', value, fileName: 'x' }])
  expect(form.files[0]?.bytes).toHaveLength(limits.fileBytesMax)
})

test('a form that goes on behind its end, with a file that has none, is refused and not waited for', async () => {
  const disposition = 'Content-Disposition: form-data; =""; filename="m"'
  const body = `\r\n--xyz--\r\n--xyz\r\n--xyz\r\n${disposition}\r\nt:\r\n\r\nx`
  await expect(readForm([Buffer.from(body)], headers, limits)).rejects.toMatchObject({
    code: 'client.invalid_request',
  })
})

test('a form without a boundary is refused', async () => {
  const without = { 'content-type': 'multipart/form-data' }
  await expect(readForm([Buffer.alloc(0)], without, limits)).rejects.toMatchObject({ status: 400 })
})

test('a boundary that is slow to search for leaves the event loop free', async () => {
  const boundary = '-'.repeat(69) + 'x'
  const slow = { 'content-type': `multipart/form-data; boundary=${boundary}` }
  const value = Buffer.alloc(25 * 1024 * 1024, `\r\n--${'-'.repeat(69)}`)
  const body = toBody([{ name: 'file', value, fileName: 'x' }], boundary)
  const spentMs = (): number => {
    const { user, system } = process.threadCpuUsage()
    return (user + system) / 1_000
  }
  let longestMs = 0
  let lastMs = spentMs()
  let isDone = false
  const watch = (): void => {
    longestMs = Math.max(longestMs, spentMs() - lastMs)
    lastMs = spentMs()
    if (!isDone) setImmediate(watch)
  }
  setImmediate(watch)
  const form = await readForm([body], slow, { fileBytesMax: 26 * 1024 * 1024, filesMax: 1 })
  isDone = true
  expect(form.files[0]?.bytes).toHaveLength(value.length)
  expect(longestMs).toBeLessThan(50)
})
