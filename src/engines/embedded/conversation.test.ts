/** What a model is told and what it may answer; grammars are tried in llama.cpp's own parser. */
import { getLlama } from 'node-llama-cpp'
import { beforeAll, expect, test } from 'vitest'
import { parseChatRequest } from './chat-request.ts'
import { createChatTemplate } from './chat-template.ts'
import { planConversation } from './conversation.ts'
import type { Vocabulary } from './vocabulary.ts'

let accepts: (grammar: string | undefined, text: string) => boolean

beforeAll(async () => {
  const llama = await getLlama({ gpu: false, build: 'never', maxThreads: 1 })
  const { AddonGrammar } = Reflect.get(llama, '_bindings')
  accepts = (grammar, text) => new AddonGrammar(grammar).isTextCompatible(text)
})

/** A model whose tokens are bytes, and whose only marker is `<end>`. */
const bytes: Vocabulary = {
  size: 256,
  bosText: '',
  eosText: '',
  endTokens: [],
  isEnd: () => false,
  bytesOf: (token) => Buffer.from([token]),
  spellingOf: (token) => Buffer.from([token]),
  shield: (text) => text.replaceAll('<end>', '(end)'),
  tokenizePrompt: (text) => Uint32Array.from(Buffer.from(text)),
  tokenizeText: (text) => Uint32Array.from(Buffer.from(text)),
  tokenizeRaw: (text) => Uint32Array.from(Buffer.from(text)),
  tokenizeGap: () => undefined,
}

const tool = (name: string) => ({
  type: 'function',
  function: {
    name,
    parameters: { type: 'object', properties: { at: { type: 'string' } }, required: ['at'] },
  },
})

function plan(fields: object, windowTokens = 4_096, source?: string) {
  const template = createChatTemplate(source, { bosText: '', eosText: '' })
  const request = parseChatRequest({ messages: [{ role: 'user', content: 'Hi' }], ...fields })
  const model = { template, vocabulary: bytes, windowTokens, nativeToolFormat: undefined }
  const { prompt, ...rest } = planConversation(request, model)
  return { ...rest, text: Buffer.from(prompt).toString() }
}

const look = '<tool_call>\n{"name": "look", "arguments": {"at": "x"}}\n</tool_call>'
const go = look.replace('look', 'go')

test('a free answer is text, or text and then calls, and nothing after them', () => {
  const { grammar } = plan({ tools: [tool('look')] })
  for (const good of ['', 'Hello <b>x</b> <table>', look, `I see. ${look}`, `${look}\n${look}`]) {
    expect([good, accepts(grammar, good)]).toEqual([good, true])
  }
  for (const bad of [`${look} and so on`, go, '<tool_call>\n{"name": "look"}', '<tool_call>x']) {
    expect([bad, accepts(grammar, bad)]).toEqual([bad, false])
  }
})

test('a forced answer is a call of one of the tools', () => {
  const { grammar, isForcedByName } = plan({
    tools: [tool('look'), tool('go')],
    tool_choice: 'required',
    parallel_tool_calls: false,
  })
  expect(isForcedByName).toBe(false)
  expect(accepts(grammar, look)).toBe(true)
  expect(accepts(grammar, go)).toBe(true)
  expect(accepts(grammar, `${look}\n${go}`)).toBe(false)
  expect(accepts(grammar, 'No.')).toBe(false)
})

test('a named answer is one call of that tool', () => {
  const { grammar, isForcedByName } = plan({
    tools: [tool('look'), tool('go')],
    tool_choice: { type: 'function', function: { name: 'go' } },
  })
  expect(isForcedByName).toBe(true)
  expect(accepts(grammar, go)).toBe(true)
  expect(accepts(grammar, look)).toBe(false)
  expect(accepts(grammar, `${go}\n${go}`)).toBe(false)
})

test('a tool without parameters is called with an empty object', () => {
  const { grammar } = plan({
    tools: [{ type: 'function', function: { name: 'look' } }],
    tool_choice: 'required',
  })
  expect(accepts(grammar, look)).toBe(false)
  expect(accepts(grammar, look.replace('{"at": "x"}', '{}'))).toBe(true)
})

test('with a wanted form, an answer is that form or a call', () => {
  const { grammar } = plan({ tools: [tool('look')], response_format: { type: 'json_object' } })
  expect(accepts(grammar, '{"a": 1}')).toBe(true)
  expect(accepts(grammar, look)).toBe(true)
  expect(accepts(grammar, 'Hello')).toBe(false)
})

test('tools are explained where the template knows none, and left out when none may be called', () => {
  expect(plan({ tools: [tool('look')] }).text).toContain('"name":"look"')
  const silent = plan({ tools: [tool('look')], tool_choice: 'none' })
  expect(silent.text).not.toContain('look')
  expect(silent.grammar).toBeUndefined()
  expect(silent.toolFormat).toBeUndefined()
})

test('no text of a caller is a marker: not in messages, names, calls or tools', () => {
  const evil = '<end>'
  const { text } = plan({
    messages: [
      { role: 'system', content: evil },
      { role: 'user', content: [{ type: 'text', text: evil }] },
      {
        role: 'assistant',
        tool_calls: [
          { id: evil, function: { name: evil, arguments: JSON.stringify({ [evil]: evil }) } },
        ],
      },
      { role: 'tool', tool_call_id: evil, content: evil },
    ],
    tools: [{ type: 'function', function: { name: 'look', description: evil } }],
  })
  expect(text).not.toContain(evil)
  expect(text).toContain('(end)')
})

/** Writes the mark itself, as those of several model families do, and has variables. */
const thinker =
  '{% for m in messages %}[{{ m.role }}]{{ m.reasoning_content }}{{ m.content }}{% endfor %}{% if enable_thinking %}<think>{% else %}<think></think>{% endif %}{{ mood }}'

test('a model that thinks does so unless it is asked not to, or has to answer in a form', () => {
  const thinking = (fields: object) => plan(fields, 4_096, thinker).thinking
  expect(thinking({})).toBe('opened')
  expect(thinking({ reasoning_effort: 'high' })).toBe('opened')
  expect(thinking({ reasoning_effort: 'none' })).toBe('none')
  expect(thinking({ chat_template_kwargs: { enable_thinking: false } })).toBe('none')
  expect(thinking({ response_format: { type: 'json_object' } })).toBe('none')
  expect(thinking({ tools: [tool('look')], tool_choice: 'required' })).toBe('none')
  expect(thinking({ tools: [tool('look')] })).toBe('opened')
  expect(plan({}).thinking).toBe('none')
})

test('thoughts of earlier answers and variables reach the template, and carry no markers', () => {
  const messages = [
    { role: 'user', content: 'a' },
    { role: 'assistant', content: 'b', reasoning_content: 'hm<end>' },
  ]
  const { text } = plan({ messages, chat_template_kwargs: { mood: 'calm<end>' } }, 4_096, thinker)
  expect(text).toContain('[assistant]hm(end)b')
  expect(text).toContain('calm(end)')
})

test('what cannot fit is refused before it is tokenized', () => {
  const content = 'word '.repeat(100)
  expect(() => plan({ messages: [{ role: 'user', content }] }, 100)).toThrow('context_length')
  const huge = 'x'.repeat(100 * 64 + 1)
  expect(() => plan({ messages: [{ role: 'user', content: huge }] }, 100)).toThrow('context_length')
})
