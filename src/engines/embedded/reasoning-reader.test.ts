import { expect, test } from 'vitest'
import {
  createReasoningReader,
  knowsThinking,
  thinkingStart,
  type ThinkingStart,
} from './reasoning-reader.ts'

/** The same whatever pieces the text comes in. */
function read(start: ThinkingStart, text: string): { reasoning: string; text: string } {
  const results = [1, 2, 3, 7, text.length || 1].map((size) => {
    const reader = createReasoningReader(start)
    const pieces = text.match(new RegExp(`[^]{1,${size}}`, 'g')) ?? []
    const read = [...pieces.map((piece) => reader.push(piece)), reader.flush()]
    return {
      reasoning: read
        .map((piece) => piece.reasoning)
        .join('')
        .trimEnd(),
      text: read.map((piece) => piece.text).join(''),
    }
  })
  const [first] = results
  for (const result of results) expect(result).toEqual(first)
  return first ?? { reasoning: '', text: '' }
}

test.each([
  ['possible', '<think>\nhm, so\n</think>\n\nYes.', 'hm, so', 'Yes.'],
  ['possible', '\n<think></think>Yes.', '', 'Yes.'],
  ['possible', 'Yes <think>no</think>.', '', 'Yes <think>no</think>.'],
  ['possible', '<b>Yes</b>', '', '<b>Yes</b>'],
  ['possible', '<thi', '', '<thi'],
  ['possible', '<think>cut in the mid', 'cut in the mid', ''],
  ['opened', '\nhm </thin so\n</think>\nYes.', 'hm </thin so', 'Yes.'],
  ['none', '<think>quoted</think>', '', '<think>quoted</think>'],
] as const)('an answer that is %s to think: %j', (start, given, reasoning, text) => {
  expect(read(start, given)).toEqual({ reasoning, text })
})

test('how an answer begins shows in the template and at the end of the prompt', () => {
  const template = '{{ x }}<think>{{ y }}</think>'
  expect(knowsThinking('{{ x }}')).toBe(false)
  expect(knowsThinking(template)).toBe(true)
  expect(thinkingStart('assistant\n')).toBe('possible')
  expect(thinkingStart('assistant\n<think>\n')).toBe('opened')
  // Some templates answer the wish not to think by an empty thought.
  expect(thinkingStart('assistant\n<think>\n\n</think>\n\n')).toBe('none')
})
