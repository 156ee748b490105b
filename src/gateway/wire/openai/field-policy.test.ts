import { expect, test } from 'vitest'
import type { Fault } from '../../../platform/fault.ts'
import { toChatWork } from '../../endpoints/chat-completions.ts'
import { toCompletionsWork } from '../../endpoints/completions.ts'
import type { FieldPolicy } from './field-policy.ts'

const chat = { model: 'm', messages: [{ role: 'user', content: 'hi' }] }
const text = { model: 'm', prompt: 'hi' }
const both = [
  {
    name: 'a chat',
    take: (fields: object, policy?: FieldPolicy) => toChatWork({ ...chat, ...fields }, policy),
  },
  {
    name: 'a completion',
    take: (fields: object, policy?: FieldPolicy) =>
      toCompletionsWork({ ...text, ...fields }, policy),
  },
]

for (const { name, take } of both) {
  test(`unknown fields of ${name} are dropped, unless the operator says otherwise`, () => {
    const [task] = take({ guided_regex: 'a+', api_base: 'http://evil' }).tasks
    expect(Object.keys('body' in task ? task.body : {})).not.toContain('guided_regex')
  })

  test(`of ${name}, only those fields go on that the operator names, and none that is ours`, () => {
    const policy: FieldPolicy = { unknown: 'ignore', forwarded: ['guided_regex', 'user', 'absent'] }
    const fields = { guided_regex: 'a+', api_base: 'http://evil', user: 'u', absent: null }
    const [task] = take(fields, policy).tasks
    const body = 'body' in task ? task.body : {}
    expect(body).toMatchObject({ guided_regex: 'a+' })
    for (const kept of ['api_base', 'user', 'absent']) expect(body).not.toHaveProperty(kept)
  })

  test(`where unknown fields are refused, ${name} says which one it was`, () => {
    const policy: FieldPolicy = { unknown: 'refuse', forwarded: ['guided_regex'] }
    expect(() => take({ guided_regex: 'a+', temperature: 0, top_p: null }, policy)).not.toThrow()
    expect(() => take({ temprature: 0 }, policy)).toThrow(
      expect.objectContaining({ code: 'client.invalid_request', param: 'temprature' }) as Fault,
    )
  })
}
