import { expect, test } from 'vitest'
import type { ChatTask, Engine, StreamPart } from '../../engines/engine.ts'
import { Fault } from '../../platform/fault.ts'
import type { Replica } from '../replicas.ts'
import { dispatch } from './dispatch.ts'

const busy = new Fault({ code: 'capacity.overloaded', public: 'busy' })

async function* nothing(): AsyncGenerator<StreamPart> {}

/** Sends a chat to engines that do as they are told, and tells what each was asked. */
async function send(...engines: ('takes it' | 'is busy')[]): Promise<{
  readonly heard: readonly unknown[]
  readonly task: ChatTask
}> {
  const heard: unknown[] = []
  const run = (answer: string): Engine['run'] => {
    return (request) => {
      if (request.task.kind === 'chat') heard.push(request.task.body['messages'])
      return answer === 'takes it' ? Promise.resolve(nothing()) : Promise.reject(busy)
    }
  }
  const plan = engines.map((answer) => ({
    id: answer,
    engineModel: 'm',
    engine: { run: run(answer), capabilities: { cacheSalt: false } },
  }))
  const messages = [{ role: 'user', content: 'secret' }]
  const task: ChatTask = { kind: 'chat', body: { messages, n: 2 } }
  const ignored = (): void => {}
  const counts = { began: ignored, succeeded: ignored, failed: ignored, ended: ignored }
  const replicas = { plan: () => plan as unknown as Replica[], isDenied: () => false, ...counts }
  const job = {
    caller: {},
    model: { model: { id: 'm' }, task },
    exchange: { requestId: 'req_1', signal: new AbortController().signal },
    admission: { streamsFromEngine: true },
  }
  const deps = { replicas, cacheSalt: () => '', log: { warn: ignored } }
  await dispatch(
    job as unknown as Parameters<typeof dispatch>[0],
    deps as unknown as Parameters<typeof dispatch>[1],
  ).catch(ignored)
  return { heard, task }
}

test('once an engine has taken a prompt, it is not held for the time of the answer', async () => {
  const { heard, task } = await send('takes it')
  expect(heard).toEqual([[{ role: 'user', content: 'secret' }]])
  expect(task.body).toEqual({ n: 2 })
})

test('the engine that is tried second gets the whole prompt', async () => {
  const { heard, task } = await send('is busy', 'takes it')
  expect(heard[1]).toEqual([{ role: 'user', content: 'secret' }])
  expect(task.body).toEqual({ n: 2 })
})
