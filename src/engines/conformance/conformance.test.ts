/** Every adapter over what its engine is documented, or was recorded, to send (README.md). */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Engine, EngineAdapter, TaskKind } from '../engine.ts'
import { engineAdapters } from '../registry.ts'
import { startByteServer, type ByteServer, type Script } from './byte-server.ts'
import { situationsOfTask, type AdapterFixtures, type Fixture, type WireEvent } from './fixture.ts'
import { withHostileValues, withoutMeaning } from './hostile.ts'
import { flawOf, isWhole, outcomeOf } from './outcome.ts'
import { chatRequest, request } from './requests.ts'

/** Cuts in two are tried at every byte of a body up to this; byte by byte, all are. */
const shortBytes = 600
const secretText = 'the prompt was about a secret'

const known = await Promise.all(
  engineAdapters.map(async (adapter) => ({ adapter, of: await fixturesOf(adapter.kind) })),
)

async function fixturesOf(kind: string): Promise<AdapterFixtures | undefined> {
  const path = join(import.meta.dirname, 'fixtures', `${kind}.ts`)
  if (!existsSync(path)) return undefined
  const module: { readonly fixtures: AdapterFixtures } = await import(pathToFileURL(path).href)
  return module.fixtures
}

test('every adapter has fixtures', () => {
  const missing = known.filter(({ of }) => !of).map(({ adapter }) => adapter.kind)
  expect(missing).toEqual([])
})

const cases = known.flatMap(({ adapter, of }) => (of ? [{ adapter, of, kind: adapter.kind }] : []))

describe.each(cases)('$kind', ({ adapter, of }) => {
  let server: ByteServer
  let engine: Engine
  const titled = of.fixtures.map((fixture, index) => ({
    fixture,
    title: `${index} ${fixture.shows} of ${fixture.request.task.kind}`,
  }))
  const served = titled.filter(({ fixture }) => (fixture.answer.status ?? 200) === 200)

  beforeAll(async () => {
    server = await startByteServer(of.beside)
    engine = connect(adapter, of, server)
  })
  afterAll(async () => {
    await engine.close()
    await server.close()
  })

  test('shows all that its tasks need, or says why it cannot', () => {
    const missing = [...engine.capabilities.tasks].flatMap((task: TaskKind) => {
      const shown = new Set(
        of.fixtures
          .filter(
            ({
              request: {
                task: { kind },
              },
            }) => kind === task,
          )
          .map(({ shows }) => shows),
      )
      return situationsOfTask[task]
        .filter((situation) => !shown.has(situation) && of.lacks?.[situation] === undefined)
        .map((situation) => `${situation} of ${task}`)
    })
    expect(missing).toEqual([])
    for (const { source } of of.fixtures) {
      expect(source.page.length).toBeGreaterThan(8)
      expect(source.date).toMatch(/^\d{4}-\d{2}-\d{2}$/)
    }
  })

  test.each(titled)('$title: asks what the engine expects', async ({ fixture }) => {
    server.play(scriptOf(fixture))
    await outcomeOf(engine, fixture.request)
    const seen = server.requests.at(-1)
    const { path, headers, body } = fixture.asks ?? {}
    expect(seen?.method).toBe('POST')
    if (path !== undefined) expect(seen?.path).toBe(path)
    if (headers) expect(seen?.headers).toMatchObject(headers)
    if (body !== undefined) expect(JSON.parse(seen?.body ?? '')).toEqual(body)
  })

  test.each(titled)(
    '$title: gives the same parts, however the bytes arrive',
    async ({ fixture }) => {
      const whole = Buffer.concat(bytesOf(fixture.answer.events))
      const bytes = Array.from(whole, (_, at) => whole.subarray(at, at + 1))
      const ways = [bytesOf(fixture.answer.events), [whole], bytes]
      const cuts = whole.length <= shortBytes ? whole.length : 0
      for (let at = 1; at < cuts; at += 1) ways.push([whole.subarray(0, at), whole.subarray(at)])
      for (const pieces of ways) {
        server.play({ ...scriptOf(fixture), pieces })
        const outcome = await outcomeOf(engine, fixture.request)
        expect(outcome.parts).toEqual(fixture.parts)
        expect(outcome.fault?.code).toBe(fixture.fault)
      }
    },
  )

  test.each(served)('$title: is never whole when it was cut off', async ({ fixture }) => {
    const { events, wholeAfter = events.length } = fixture.answer
    for (let count = 0; count < events.length; count += 1) {
      const pieces = bytesOf(events.slice(0, count))
      server.play({ ...scriptOf(fixture), pieces, ending: 'cut' })
      const broken = await outcomeOf(engine, fixture.request)
      expect(broken.fault?.code, `broken off after ${count}`).toBe('upstream.truncated')
      expect(isWhole(broken)).toBe(false)
      if (count >= wholeAfter) continue
      server.play({ ...scriptOf(fixture), pieces })
      const ended = await outcomeOf(engine, fixture.request)
      expect(ended.fault?.code, `ended after ${count}`).toMatch(
        /^upstream\.(truncated|invalid_response)$/,
      )
    }
  })

  test.each(served)('$title: hostile values never break us', async ({ fixture }) => {
    const { events } = fixture.answer
    for (const [position, event] of events.entries()) {
      for (const hostile of [...withHostileValues(event), ...withoutMeaning(event)]) {
        const changed = events.with(position, hostile)
        server.play({ ...scriptOf(fixture), pieces: bytesOf(changed) })
        const { parts, fault } = await outcomeOf(engine, fixture.request)
        const text = String(hostile).slice(0, 300)
        if (fault) expect(fault.code, text).toMatch(/^(upstream|capacity)\./)
        else expect(parts.at(-1)?.type, text).toBe('end')
        expect(parts.map(flawOf).filter(Boolean), text).toEqual([])
      }
    }
  })

  test('an event without an end is not waited for', async () => {
    const fixture = served.find(({ fixture: { answer } }) => answer.events.length > 1)?.fixture
    if (!fixture) return
    const flood = Buffer.alloc(3 * 1024 * 1024, 'data: x')
    server.play({ ...scriptOf(fixture), pieces: [flood], ending: 'held' })
    const stop = new AbortController()
    const { fault } = await outcomeOf(engine, fixture.request, stop.signal)
    if (fixture.request.task.kind !== 'speech')
      expect(fault?.code).toBe('upstream.invalid_response')
    stop.abort()
  })

  test('a late first byte is waited for', async () => {
    const fixture = served[0]?.fixture
    if (!fixture) return
    let release = (): void => {}
    const after = new Promise<void>((resolve) => {
      release = resolve
    })
    server.play({ ...scriptOf(fixture), after })
    const before = server.requests.length
    const outcome = outcomeOf(engine, fixture.request)
    await expect.poll(() => server.requests.length).toBe(before + 1)
    release()
    expect((await outcome).parts).toEqual(fixture.parts)
  })

  test.each(['before the head', 'amid the body'])(
    'aborting %s ends the connection',
    async (when) => {
      const fixture = served[0]?.fixture
      if (!fixture) return
      const stop = new AbortController()
      const [first] = fixture.answer.events
      server.play({
        ...scriptOf(fixture),
        pieces: fixture.answer.events.length > 1 && first !== undefined ? bytesOf([first]) : [],
        ending: 'held',
        ...(when === 'before the head' && { after: new Promise<void>(() => {}) }),
      })
      const before = server.requests.length
      const outcome = outcomeOf(engine, fixture.request, stop.signal)
      await expect.poll(() => server.requests.length).toBe(before + 1)
      stop.abort()
      expect((await outcome).fault?.code).toBe('client.gone')
      await server.requests.at(-1)?.closed
    },
  )

  test.each([
    [400, 'upstream.rejected'],
    [401, 'upstream.failed'],
    [403, 'upstream.failed'],
    [404, 'upstream.failed'],
    [413, 'upstream.rejected'],
    [422, 'upstream.rejected'],
    [429, 'capacity.engine_rate_limited'],
    [500, 'upstream.failed'],
    [502, 'upstream.failed'],
    [503, 'capacity.overloaded'],
    [529, 'capacity.overloaded'],
  ])('a refusal with %i is %s, and its text stays behind', async (status, code) => {
    const error = { message: secretText, type: secretText, code: secretText }
    server.play({
      status,
      headers: { 'content-type': 'application/json' },
      pieces: [Buffer.from(JSON.stringify({ error, message: secretText }))],
      ending: 'whole',
    })
    const { fault, parts } = await outcomeOf(engine, someRequest(of))
    expect(fault?.code).toBe(code)
    expect(parts).toEqual([])
    // Our own engine's texts are our own, and written for callers.
    if (adapter.kind !== 'llama-cpp')
      expect(String([fault?.public, fault?.internal])).not.toContain('secret')
  })

  test('a wait that a refusal names is passed on', async () => {
    server.play({ status: 503, headers: { 'retry-after': '7' }, pieces: [], ending: 'whole' })
    expect((await outcomeOf(engine, someRequest(of))).fault?.retryAfterMs).toBe(7_000)
  })

  test('a redirect is not followed', async () => {
    const before = server.requests.length
    server.play({
      status: 307,
      headers: { location: `${server.origin}/elsewhere` },
      pieces: [],
      ending: 'whole',
    })
    expect((await outcomeOf(engine, someRequest(of))).fault?.code).toBe('upstream.failed')
    expect(server.requests.length).toBe(before + 1)
  })

  test('an answer of another kind, or compressed, is refused', async () => {
    const fixture = served.find(
      ({
        fixture: {
          request: { task },
        },
      }) => task.kind === 'chat',
    )?.fixture
    if (!fixture) return
    server.play({
      ...scriptOf(fixture),
      headers: { 'content-type': 'text/html' },
      pieces: [Buffer.from('<html>')],
    })
    expect((await outcomeOf(engine, fixture.request)).fault?.code).toBe('upstream.invalid_response')
    const script = scriptOf(fixture)
    server.play({ ...script, headers: { ...script.headers, 'content-encoding': 'gzip' } })
    expect((await outcomeOf(engine, fixture.request)).fault?.code).toBe('upstream.invalid_response')
  })
})

function connect(adapter: EngineAdapter, of: AdapterFixtures, server: ByteServer): Engine {
  return adapter.connect({
    baseUrl: server.origin + (of.basePath ?? ''),
    apiKey: of.apiKey?.(server.origin),
    settings: of.settings,
  })
}

function scriptOf({ answer }: Fixture): Script {
  return {
    status: answer.status ?? 200,
    headers: { 'content-type': answer.contentType, ...answer.headers },
    pieces: bytesOf(answer.events),
    ending: 'whole',
  }
}

function bytesOf(events: readonly WireEvent[]): Uint8Array[] {
  return events.map((event) => Buffer.from(event))
}

function someRequest(of: AdapterFixtures) {
  return of.fixtures[0]?.request ?? request(chatRequest().task)
}
