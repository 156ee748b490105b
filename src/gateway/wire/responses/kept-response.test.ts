import { expect, test } from 'vitest'
import { parseItem, type InputItem } from './input-item.ts'
import {
  readKept,
  toConversationItems,
  toKeptBytes,
  toKeptInput,
  type KeptResponse,
} from './kept-response.ts'
import { toConversation } from './messages.ts'
import { createSeal } from '../../../platform/seal.ts'

const seal = () => createSeal(Buffer.alloc(32))
const items: readonly unknown[] = [
  { role: 'developer', content: 'Be brief.' },
  {
    role: 'user',
    content: [
      { type: 'input_text', text: 'What is this?' },
      { type: 'input_image', image_url: 'data:image/png;base64,AAAA' },
      { type: 'input_file', file_data: 'data:application/pdf;base64,AAAA', filename: 'a.pdf' },
      { type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } },
    ],
  },
  { type: 'reasoning', summary: [{ type: 'summary_text', text: 'Hm.' }] },
  { role: 'assistant', content: [{ type: 'refusal', refusal: 'No.' }] },
  { role: 'assistant', content: 'A heron.' },
  { type: 'function_call', call_id: 'a', name: 'look', arguments: '{}' },
  { type: 'custom_tool_call', call_id: 'b', name: 'run', input: 'ls' },
  { type: 'function_call_output', call_id: 'a', output: 'there' },
  { type: 'custom_tool_call_output', call_id: 'b', output: [{ type: 'input_text', text: 'none' }] },
]
const given: readonly InputItem[] = items.map((item, index) => parseItem(item, index))

const kept = (input: string | readonly InputItem[], id = 'resp_1'): KeptResponse => ({
  response: { id, status: 'completed', output: [] },
  input: toKeptInput(input, id),
})
const stored = (response: KeptResponse) => ({
  id: response.response.id,
  previousId: undefined,
  createdAtMs: 0,
  content: toKeptBytes(response),
})

test('what was kept comes back', () => {
  const response = kept('Hi')
  expect(readKept(stored(response))).toEqual(response)
})

test('a conversation from what is kept says to the model what the client would have sent', () => {
  const again = toConversationItems([stored(kept(given)), stored(kept('And then?', 'resp_2'))])
  const { messages } = toConversation({ instructions: null, input: 'Why?', earlier: again }, seal)
  const next = { type: 'message', role: 'user', content: 'And then?' } as const
  const whole = { instructions: null, input: [...given, next], earlier: [] }
  const expected = toConversation(whole, seal).messages
  expect(messages).toEqual([...expected, { role: 'user', content: 'Why?' }])
})

test('what is wrong with an earlier item is said of the field that brought it', () => {
  const remote = { type: 'input_file', file_id: 'file-1' } as const
  const earlier: readonly InputItem[] = [
    { type: 'message', role: 'user', content: [remote, remote] },
  ]
  expect(() => toConversation({ instructions: null, input: 'Hi', earlier }, seal)).toThrow(
    expect.objectContaining({ param: 'previous_response_id[0]' }),
  )
})

test('each item of an input has an id of its own, by its kind', () => {
  const ids = toKeptInput(given, 'resp_X').map(({ id }) => String(id))
  expect(new Set(ids).size).toBe(ids.length)
  expect(ids.map((id) => id.split('_')[0])).toEqual('msg msg rs msg msg fc ctc fco ctco'.split(' '))
})
