/** Many streams at once through a proxy: what each event costs it, and whether all arrive. */
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RunningPeer } from '../peers/peer.ts'
import { residentBytes, startPinned } from '../process.ts'
import type { Cores } from '../process.ts'
import { watchUsage, type Usage } from '../usage.ts'
import type { Ended, FromClient, Marked, ToClient } from './stream-messages.ts'

export interface StreamLoad {
  readonly streams: number
  /** Of each stream. */
  readonly tokensPerSecond: number
  /** While all streams are held. */
  readonly seconds: number
}

export interface StreamResult {
  /** Between the two marks, while all streams were held. */
  readonly usage: Usage
  readonly events: number
  readonly eventsPerSecond: number
  readonly gapP50Ms: number
  readonly gapP99Ms: number
  readonly heldBytes: number
  readonly ended: Ended
}

const clientFile = join(import.meta.dirname, 'stream-client.ts')
const rampMsPerStream = 5
const rampMsMin = 500
/** After the last stream began, and again at the end, so that the window holds nothing but steady streams. */
const settleMs = 500
/** A proxy that has not begun all streams by then is measured with those that it holds. */
const beginTimeoutMs = 2_000
const markTimeoutMs = 60_000
const endTimeoutMs = 120_000

export async function loadStreams(
  peer: RunningPeer,
  load: StreamLoad,
  cores: Cores,
): Promise<StreamResult> {
  const rampMs = Math.max(rampMsMin, load.streams * rampMsPerStream)
  const streamMs = rampMs + beginTimeoutMs + load.seconds * 1_000 + 2 * settleMs
  const client = startPinned([process.execPath, clientFile], { core: cores.load, ipc: true })
  try {
    const url = new URL(peer.url)
    const holding = next(client.child, 'holding', rampMs + beginTimeoutMs)
    const ended = next(client.child, 'ended', streamMs + endTimeoutMs)
    // Its failure is reported where it is awaited.
    ended.catch(() => undefined)
    tell(client.child, {
      type: 'start',
      order: {
        host: url.hostname,
        port: Number(url.port),
        headers: peer.headers,
        model: peer.model,
        streams: load.streams,
        tokens: Math.ceil((streamMs * load.tokensPerSecond) / 1_000),
        rampMs,
      },
    })
    await holding.catch(() => undefined)
    await sleep(settleMs)
    const usageSince = watchUsage(peer, cores)
    const before = await mark(client.child)
    await sleep(load.seconds * 1_000)
    const usage = usageSince()
    const after = await mark(client.child)
    const heldBytes = residentBytes(peer.pids())
    const events = after.events - before.events
    return {
      usage,
      events,
      eventsPerSecond: (events * 1_000) / (after.atMs - before.atMs),
      gapP50Ms: after.gapP50Ms,
      gapP99Ms: after.gapP99Ms,
      heldBytes,
      ended: await ended,
    }
  } catch (error) {
    throw new Error(`the stream client failed: ${client.output()}`, { cause: error })
  } finally {
    await client.stop()
  }
}

function mark(client: ChildProcess): Promise<Marked> {
  const marked = next(client, 'marked', markTimeoutMs)
  tell(client, { type: 'mark' })
  return marked
}

function tell(client: ChildProcess, message: ToClient): void {
  client.send(message)
}

function next<Type extends FromClient['type']>(
  client: ChildProcess,
  type: Type,
  timeoutMs: number,
): Promise<Extract<FromClient, { type: Type }>> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => fail(`no "${type}" within ${timeoutMs} ms`), timeoutMs)
    const leave = (): void => {
      clearTimeout(timer)
      client.off('message', listen)
      client.off('exit', exited)
    }
    const listen = (message: FromClient): void => {
      if (message.type !== type) return
      leave()
      // Its type was just compared.
      resolve(message as Extract<FromClient, { type: Type }>)
    }
    const fail = (text: string): void => {
      leave()
      reject(new Error(text))
    }
    const exited = (): void => fail(`the client ended before "${type}"`)
    client.on('message', listen)
    client.on('exit', exited)
  })
}
