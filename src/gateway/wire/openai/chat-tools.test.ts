import { expect, test } from 'vitest'
import { Fault } from '../../../platform/fault.ts'
import { toFinishReason } from './chat-finish.ts'
import { parseChatRequest, toEngineBody } from './chat-request.ts'
import { planTools } from './chat-tools.ts'

const messages = [{ role: 'user', content: 'hi' }]
const tool = (name: string) => ({ type: 'function', function: { name } })
const tools = [tool('look'), tool('go'), tool('wait')]

const bodyOf = (fields: object): Record<string, unknown> =>
  toEngineBody(parseChatRequest({ model: 'm', messages, ...fields }))

test.each(['none', 'auto', 'required', tool('go')])('tool_choice %j goes on as it is', (choice) => {
  expect(bodyOf({ tools, tool_choice: choice })).toEqual({ messages, tools, tool_choice: choice })
})

test.each(['auto', 'required'])(
  'allowed tools with the mode %s are the only ones that the engine hears of',
  (mode) => {
    const choice = {
      type: 'allowed_tools',
      allowed_tools: { mode, tools: [tool('wait'), tool('look')] },
    }
    expect(bodyOf({ tools, tool_choice: choice })).toEqual({
      messages,
      tools: [tool('look'), tool('wait')],
      tool_choice: mode,
    })
  },
)

test('a wish for one call at a time goes on, false or true; with no tools it is dropped', () => {
  expect(bodyOf({ tools, parallel_tool_calls: false })['parallel_tool_calls']).toBe(false)
  expect(bodyOf({ tools, parallel_tool_calls: true })['parallel_tool_calls']).toBe(true)
  expect(bodyOf({ tools: [], parallel_tool_calls: false, tool_choice: 'none' })).toEqual({
    messages,
  })
})

test.each([
  ['a name that is not offered', { tools, tool_choice: tool('fly') }, 'tool_choice'],
  [
    'an allowed tool that is not offered',
    {
      tools,
      tool_choice: { type: 'allowed_tools', allowed_tools: { mode: 'auto', tools: [tool('fly')] } },
    },
    'tool_choice',
  ],
  ['a choice without tools', { tool_choice: 'auto' }, 'tool_choice'],
  [
    'a custom choice',
    { tools, tool_choice: { type: 'custom', custom: { name: 'x' } } },
    'tool_choice',
  ],
  ['a custom tool', { tools: [{ type: 'custom', custom: { name: 'x' } }] }, 'tools[0].type'],
  [
    'a call of a function that is not offered',
    { functions: [{ name: 'a' }], function_call: { name: 'b' } },
    'function_call',
  ],
  ['a function call without functions', { function_call: 'auto' }, 'function_call'],
  ['both forms at once', { tools, functions: [{ name: 'a' }] }, 'functions'],
])('%s is refused, and param says where', (_, fields, want) => {
  try {
    parseChatRequest({ model: 'm', messages, ...fields })
    expect.unreachable()
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    expect([error.status, error.param]).toEqual([400, want])
  }
})

test('functions become tools, one call at a time, and their history becomes calls with ids', () => {
  const functions = [{ name: 'look', parameters: { type: 'object' } }, { name: 'go' }]
  const history = [
    { role: 'user', content: 'look' },
    { role: 'assistant', content: null, function_call: { name: 'look', arguments: '{}' } },
    { role: 'function', name: 'look', content: 'a door' },
    { role: 'assistant', content: null, function_call: { name: 'go', arguments: '{}' } },
    { role: 'function', name: 'go', content: null },
  ]
  const body = bodyOf({ messages: history, functions, function_call: { name: 'go' } })
  expect(body).toEqual({
    messages: [
      { role: 'user', content: 'look' },
      {
        role: 'assistant',
        content: null,
        tool_calls: [
          { id: 'call_function_1', type: 'function', function: { name: 'look', arguments: '{}' } },
        ],
      },
      { role: 'tool', tool_call_id: 'call_function_1', content: 'a door' },
      {
        role: 'assistant',
        content: null,
        tool_calls: [
          { id: 'call_function_2', type: 'function', function: { name: 'go', arguments: '{}' } },
        ],
      },
      { role: 'tool', tool_call_id: 'call_function_2', content: '' },
    ],
    tools: functions.map((each) => ({ type: 'function', function: each })),
    tool_choice: { type: 'function', function: { name: 'go' } },
    parallel_tool_calls: false,
  })
  const plan = planTools(
    parseChatRequest({ model: 'm', messages, functions, function_call: 'auto' }),
  )
  expect(plan).toMatchObject({ usesFunctions: true, isNamed: false, toolChoice: 'auto' })
})

test.each([
  ['a free call', 'stop', true, {}, 'tool_calls'],
  ['a free call', 'tool_calls', true, {}, 'tool_calls'],
  [
    'a call of the function that the caller named',
    'tool_calls',
    true,
    { isCallNamed: true },
    'stop',
  ],
  ['no call, whatever the engine says', 'tool_calls', false, {}, 'stop'],
  ['a call in the form before tools', 'tool_calls', true, { usesFunctions: true }, 'function_call'],
  ['a cut call', 'length', true, { isCallNamed: true }, 'length'],
  ['a filtered answer', 'content_filter', false, {}, 'content_filter'],
] as const)('%s (%s) ends as clients expect', (_, reason, hasCalls, style, want) => {
  expect(toFinishReason(reason, hasCalls, style)).toBe(want)
})

test('a coding agent may offer a thousand tools with names of 128 characters', () => {
  const offer = (count: number, length: number): object => ({
    model: 'm',
    messages,
    tools: Array.from({ length: count }, (_, index) => ({
      type: 'function',
      function: { name: String(index).padEnd(length, 'x') },
    })),
  })
  expect(planTools(parseChatRequest(offer(1_024, 128))).tools).toHaveLength(1_024)
  expect(() => parseChatRequest(offer(1_025, 128))).toThrow()
  expect(() => parseChatRequest(offer(1, 129))).toThrow()
})
