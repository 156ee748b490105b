/** Live transcription over a real socket, real PostgreSQL and the real journal. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { WebSocket, type ClientOptions } from 'ws'
import {
  gatewayForTests,
  toEvent,
  type EngineHears,
  type EngineSays,
  type GatewayForTests,
} from '../../test/gateway-for-tests.ts'

let gateway: GatewayForTests
/** What the engine was asked last. */
let heard: EngineHears

beforeAll(async () => {
  gateway = await gatewayForTests({
    script: transcribe,
    models: ['hearer', 'broken-hearer', 'endless-hearer'].map((id) => ({
      id,
      category: 'audio',
      capabilities: ['transcription'],
      prices: { audio_minute: 10_000_000n },
    })),
  })
}, 120_000)

afterAll(() => gateway?.close())

function transcribe(asked: EngineHears): EngineSays {
  heard = asked
  const say = (...words: readonly string[]): string[] =>
    words.map((delta) => toEvent({ type: 'transcript.text.delta', delta }))
  const model = asked.form?.fields.get('model')?.[0]
  if (model === 'endless-hearer') return { pieces: say('Hello'), ending: 'held' }
  const pieces = say('Hello', ' there.')
  const end = toEvent({ type: 'transcript.text.done', text: 'Hello there.' })
  return { pieces: model === 'broken-hearer' ? pieces : [...pieces, end] }
}

interface ServerEvent {
  readonly type: string
  readonly event_id: string
  readonly [key: string]: unknown
}

interface LiveClient {
  readonly socket: WebSocket
  readonly events: readonly ServerEvent[]
  say(event: Record<string, unknown>): void
  /** The first event of this type that was not yet asked for. */
  next(type: string): Promise<ServerEvent>
  close(): void
}

async function connect(
  options: {
    query?: string
    headers?: Record<string, string>
    protocols?: string[]
    key?: string | undefined
  } = {},
): Promise<LiveClient> {
  const url = `${gateway.url.replace('http', 'ws')}/v1/realtime?${options.query ?? 'intent=transcription'}`
  const authorization = { authorization: `Bearer ${options.key ?? gateway.key}` }
  const settings: ClientOptions = {
    headers: { ...(options.protocols ? {} : authorization), ...options.headers },
  }
  const socket = options.protocols
    ? new WebSocket(url, options.protocols, settings)
    : new WebSocket(url, settings)
  const events: ServerEvent[] = []
  const taken = new Set<ServerEvent>()
  let arrived = Promise.withResolvers<void>()
  socket.on('message', (data: Buffer) => {
    events.push(JSON.parse(data.toString()) as ServerEvent)
    arrived.resolve()
    arrived = Promise.withResolvers()
  })
  await new Promise((resolve, reject) => {
    socket.once('open', resolve)
    socket.once('error', reject)
  })
  return {
    socket,
    events,
    say: (event) => socket.send(JSON.stringify(event)),
    async next(type) {
      for (;;) {
        const found = events.find((event) => event.type === type && !taken.has(event))
        if (found) {
          taken.add(found)
          return found
        }
        await arrived.promise
      }
    },
    close: () => socket.close(),
  }
}

/** A sine of 400 Hz at 24 kHz. */
function tone(ms: number, amplitude = 8_000): Buffer {
  const samples = Buffer.alloc(24 * ms * 2)
  for (let index = 0; index < samples.length / 2; index += 1) {
    const angle = (2 * Math.PI * 400 * index) / 24_000
    samples.writeInt16LE(Math.round(Math.sin(angle) * amplitude), index * 2)
  }
  return samples
}

function append(client: LiveClient, sound: Buffer): void {
  client.say({ type: 'input_audio_buffer.append', audio: sound.toString('base64') })
}

function setUp(client: LiveClient, model: string, turnDetection: unknown = null): void {
  const input = { transcription: { model, language: 'en' }, turn_detection: turnDetection }
  client.say({ type: 'session.update', session: { type: 'transcription', audio: { input } } })
}

const completed = 'conversation.item.input_audio_transcription.completed'
const failed = 'conversation.item.input_audio_transcription.failed'

test('what the client commits is transcribed, in the order of events that OpenAI has', async () => {
  const client = await connect()
  expect(await client.next('session.created')).toMatchObject({
    session: {
      type: 'transcription',
      audio: {
        input: {
          format: { type: 'audio/pcm', rate: 24_000 },
          turn_detection: { type: 'server_vad' },
        },
      },
    },
  })
  setUp(client, 'hearer')
  expect(await client.next('session.updated')).toMatchObject({
    session: {
      audio: {
        input: { transcription: { model: 'hearer', language: 'en' }, turn_detection: null },
      },
    },
  })
  append(client, tone(700))
  append(client, tone(800))
  client.say({ type: 'input_audio_buffer.commit' })
  const end = await client.next(completed)
  expect(end).toMatchObject({
    transcript: 'Hello there.',
    content_index: 0,
    usage: { type: 'duration', seconds: 1.5 },
  })
  expect(client.events.map(({ type }) => type)).toEqual([
    'session.created',
    'session.updated',
    'input_audio_buffer.committed',
    'conversation.item.added',
    'conversation.item.done',
    'conversation.item.input_audio_transcription.delta',
    'conversation.item.input_audio_transcription.delta',
    completed,
  ])
  const items = client.events.slice(2).map((event) => {
    const item = event['item'] as { id: string } | undefined
    return item?.id ?? event['item_id']
  })
  expect(new Set(items)).toEqual(new Set([end['item_id']]))
  expect(new Set(client.events.map((event) => event.event_id)).size).toBe(client.events.length)
  const sound = heard.form?.files[0]
  expect(sound?.bytes.subarray(44).equals(Buffer.concat([tone(700), tone(800)]))).toBe(true)
  client.close()
})

test('a session of several segments costs the minutes that it has started, and each segment is in the ledger', async () => {
  const key = await gateway.makeKey()
  const client = await connect({ key: key.secret })
  setUp(client, 'hearer')
  for (const ms of [5_000, 5_000, 51_000]) {
    append(client, tone(ms))
    client.say({ type: 'input_audio_buffer.commit' })
    await client.next(completed)
  }
  client.close()
  const rows = await gateway.billedOf(key.id, 3)
  expect(rows.map((row) => [row.outcome, row.amount_nanos])).toEqual([
    ['completed', 10_000_000n],
    ['completed', 0n],
    ['completed', 10_000_000n],
  ])
})

test('with server VAD, pauses end the segments', async () => {
  const client = await connect({ query: 'intent=transcription&model=hearer' })
  const pause = tone(600, 0)
  append(client, Buffer.concat([tone(500, 0), tone(400), pause, tone(400), pause]))
  await client.next(completed)
  await client.next(completed)
  const types = client.events.map(({ type }) => type)
  expect(types.filter((type) => type === 'input_audio_buffer.speech_started')).toHaveLength(2)
  expect(types.filter((type) => type === 'input_audio_buffer.speech_stopped')).toHaveLength(2)
  const [started] = client.events.filter(({ type }) => type.endsWith('speech_started'))
  const [stopped] = client.events.filter(({ type }) => type.endsWith('speech_stopped'))
  const committed = client.events.filter(({ type }) => type === 'input_audio_buffer.committed')
  expect(started).toMatchObject({ audio_start_ms: 200, item_id: committed[0]?.['item_id'] })
  expect(stopped).toMatchObject({ audio_end_ms: 1_400, item_id: committed[0]?.['item_id'] })
  expect(committed[0]?.['previous_item_id']).toBeNull()
  expect(committed[1]?.['previous_item_id']).toBe(committed[0]?.['item_id'])
  client.close()
})

test('settings can change while somebody speaks, and nothing that was said is lost', async () => {
  const client = await connect({ query: 'intent=transcription&model=hearer' })
  append(client, tone(1_000, 0))
  append(client, tone(400))
  await client.next('input_audio_buffer.speech_started')
  setUp(client, 'hearer', null)
  await client.next('session.updated')
  append(client, tone(400))
  client.say({ type: 'input_audio_buffer.commit' })
  const { usage } = (await client.next(completed)) as unknown as { usage: { seconds: number } }
  expect(usage.seconds).toBeGreaterThanOrEqual(0.8 + 0.3)
  setUp(client, 'hearer', { type: 'server_vad' })
  append(client, Buffer.concat([tone(1_000, 0), tone(400)]))
  const started = await client.next('input_audio_buffer.speech_started')
  expect(started['audio_start_ms']).toBe(1_800 + 700)
  client.close()
})

test('a client that vanishes pays for what was being served to it, and for nothing else', async () => {
  const key = await gateway.makeKey()
  const client = await connect({ key: key.secret })
  setUp(client, 'endless-hearer')
  append(client, tone(300))
  client.say({ type: 'input_audio_buffer.commit' })
  append(client, tone(300))
  client.say({ type: 'input_audio_buffer.commit' })
  append(client, tone(300))
  await client.next('conversation.item.input_audio_transcription.delta')
  client.socket.terminate()
  expect(await gateway.billedOf(key.id, 1)).toMatchObject([
    { outcome: 'client_left', amount_nanos: 10_000_000n },
  ])
})

test('a segment that fails says so, costs nothing, and starts no minute', async () => {
  const key = await gateway.makeKey()
  const client = await connect({ key: key.secret })
  setUp(client, 'broken-hearer')
  append(client, tone(300))
  client.say({ type: 'input_audio_buffer.commit' })
  expect(await client.next(failed)).toMatchObject({ error: { code: 'engine_truncated' } })
  setUp(client, 'nobody')
  append(client, tone(300))
  client.say({ type: 'input_audio_buffer.commit' })
  expect(await client.next(failed)).toMatchObject({ error: { code: 'model_not_found' } })
  setUp(client, 'hearer')
  append(client, tone(300))
  client.say({ type: 'input_audio_buffer.commit' })
  await client.next(completed)
  client.close()
  expect((await gateway.billedOf(key.id, 2)).map((row) => [row.outcome, row.amount_nanos])).toEqual(
    [
      ['voided', 0n],
      ['completed', 10_000_000n],
    ],
  )
})

const wrong: readonly {
  name: string
  message: string
  param: string | null
  causeId: string | null
}[] = [
  { name: 'no JSON', message: '{"type":', param: null, causeId: null },
  {
    name: 'an unknown event',
    message: '{"type":"response.create","event_id":"e1"}',
    param: 'type',
    causeId: 'e1',
  },
  {
    name: 'nothing to commit',
    message: '{"type":"input_audio_buffer.commit","event_id":"e2"}',
    param: null,
    causeId: 'e2',
  },
  {
    name: 'a session that speaks',
    message: '{"type":"session.update","event_id":"e3","session":{"type":"realtime"}}',
    param: 'session.type',
    causeId: 'e3',
  },
  {
    name: 'another rate',
    message:
      '{"type":"session.update","event_id":"e4","session":{"audio":{"input":{"format":{"type":"audio/pcm","rate":16000}}}}}',
    param: 'session.audio.input.format',
    causeId: 'e4',
  },
]
for (const { name, message, param, causeId } of wrong) {
  test(`the session goes on after an error: ${name}`, async () => {
    const client = await connect()
    client.socket.send(message)
    expect(await client.next('error')).toMatchObject({
      error: { type: 'invalid_request_error', param, event_id: causeId },
    })
    client.say({ type: 'input_audio_buffer.clear' })
    await client.next('input_audio_buffer.cleared')
    client.close()
  })
}

test("browsers' keys and the older form of the events work", async () => {
  const client = await connect({
    protocols: ['realtime', `openai-insecure-api-key.${gateway.key}`, 'openai-beta.realtime-v1'],
    headers: { 'openai-beta': 'realtime=v1' },
  })
  expect(client.socket.protocol).toBe('realtime')
  await client.next('transcription_session.created')
  client.say({
    type: 'transcription_session.update',
    session: {
      input_audio_format: 'g711_ulaw',
      input_audio_transcription: { model: 'hearer' },
      turn_detection: null,
    },
  })
  expect(await client.next('transcription_session.updated')).toMatchObject({
    session: { input_audio_format: 'g711_ulaw', turn_detection: null },
  })
  append(client, Buffer.alloc(8_000, 0xff))
  client.say({ type: 'input_audio_buffer.commit' })
  expect(await client.next(completed)).toMatchObject({ usage: { seconds: 1 } })
  expect(client.events.map(({ type }) => type)).toContain('conversation.item.created')
  client.close()
})
