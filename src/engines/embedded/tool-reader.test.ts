import { expect, test } from 'vitest'
import { explainedToolFormat, type ToolFormat } from './tool-format.ts'
import { createToolReader, type ToolEvent } from './tool-reader.ts'

const bare: ToolFormat = {
  opening: '',
  separator: undefined,
  closing: '',
  argumentsKey: 'parameters',
}

function read(format: ToolFormat, pieces: readonly string[]) {
  const reader = createToolReader(format)
  const events: ToolEvent[] = [...pieces.flatMap((piece) => reader.push(piece)), ...reader.flush()]
  let text = ''
  const calls: { name: string; arguments: string }[] = []
  for (const event of events) {
    if (event.type === 'text') text += event.text
    if (event.type === 'start') calls.push({ name: event.name, arguments: '' })
    const call = event.type === 'arguments' ? calls[event.index] : undefined
    if (call && event.type === 'arguments') call.arguments += event.arguments
  }
  return { text, calls }
}

const twoCalls =
  'Let me see.\n<tool_call>\n{"name": "look", "arguments": {"at": "a \\"}{\\" b", "deep": {"x": [1, {}]}}}\n</tool_call>\n' +
  '<tool_call>\n{"name": "go", "arguments": {}}\n</tool_call>'

test('calls are told from text wherever the answer is split', () => {
  const expected = {
    text: 'Let me see.\n',
    calls: [
      { name: 'look', arguments: '{"at": "a \\"}{\\" b", "deep": {"x": [1, {}]}}' },
      { name: 'go', arguments: '{}' },
    ],
  }
  for (let at = 0; at <= twoCalls.length; at += 1) {
    const pieces = [twoCalls.slice(0, at), twoCalls.slice(at)]
    expect(read(explainedToolFormat, pieces)).toEqual(expected)
  }
  expect(read(explainedToolFormat, Array.from(twoCalls))).toEqual(expected)
})

test('a format without marker begins the answer with the call', () => {
  const answer = '{"name": "look", "parameters": {"at": 1}}'
  expect(read(bare, Array.from(answer))).toEqual({
    text: '',
    calls: [{ name: 'look', arguments: '{"at": 1}' }],
  })
  expect(read(bare, ['Look', ' at {"name": 1}'])).toEqual({
    text: 'Look at {"name": 1}',
    calls: [],
  })
})

test('a call that was cut before its arguments comes out as the text that it is', () => {
  expect(read(explainedToolFormat, ['<tool_call>\n{"na'])).toEqual({
    text: '<tool_call>\n{"na',
    calls: [],
  })
})

test('arguments that were cut stay as far as they came', () => {
  const { calls } = read(explainedToolFormat, ['<tool_call>\n{"name": "f", "arguments": {"a": "b'])
  expect(calls).toEqual([{ name: 'f', arguments: '{"a": "b' }])
})
