/** What becomes of a chat that a vendor has no words for. */
import { expect, test } from 'vitest'
import type { ChatTask } from '../../engine.ts'
import { renderMessages } from '../anthropic/messages-request.ts'
import { renderConverse } from '../bedrock/converse-request.ts'
import { renderContents } from '../gemini/content-request.ts'
import { openAiHostedChat } from '../openai/hosted-chat.ts'

const hello = [{ role: 'user', content: 'Hello' }]
const task = (fields: Readonly<Record<string, unknown>>): ChatTask => ({
  kind: 'chat',
  body: { messages: hello, ...fields },
})
const vendors = {
  anthropic: (fields: Readonly<Record<string, unknown>>) =>
    renderMessages(task(fields), 'm', { thinking: 'budget', outputTokensDefault: 32_000 }),
  bedrock: (fields: Readonly<Record<string, unknown>>) =>
    renderConverse(task(fields), { thinking: undefined }),
  gemini: (fields: Readonly<Record<string, unknown>>) =>
    renderContents(task(fields), { thinking: 'budget' }),
  openai: (fields: Readonly<Record<string, unknown>>) =>
    openAiHostedChat.render(
      { model: 'm', task: task(fields), stream: true, cacheSalt: undefined },
      { continuousUsage: false, cacheSalt: false },
    ),
}

test.each([
  ['anthropic', { logprobs: true }, 'logprobs'],
  ['anthropic', { frequency_penalty: 0.5 }, 'frequency_penalty'],
  ['anthropic', { logit_bias: { 5: 1 } }, 'logit_bias'],
  ['anthropic', { temperature: 1.5 }, 'temperature'],
  ['anthropic', { response_format: { type: 'json_object' } }, 'response_format'],
  ['anthropic', { chat_template_kwargs: { style: 'x' } }, 'chat_template_kwargs'],
  ['bedrock', { top_k: 5 }, 'top_k'],
  ['bedrock', { reasoning_effort: 'low' }, 'reasoning_effort'],
  ['bedrock', { parallel_tool_calls: false }, 'parallel_tool_calls'],
  ['gemini', { min_p: 0.1 }, 'min_p'],
  ['gemini', { repetition_penalty: 1.1 }, 'repetition_penalty'],
  ['openai', { top_k: 5 }, 'top_k'],
  ['openai', { min_tokens: 5 }, 'min_tokens'],
] as const)('%s refuses %j by its name', (vendor, fields, param) => {
  expect(() => vendors[vendor](fields)).toThrow(
    expect.objectContaining({ code: 'client.unsupported_value', param }),
  )
})

test.each(Object.keys(vendors) as (keyof typeof vendors)[])(
  '%s takes values that say the same as nothing',
  (vendor) => {
    const neutral = {
      n: 1,
      logprobs: false,
      top_logprobs: 0,
      frequency_penalty: 0,
      presence_penalty: 0,
      repetition_penalty: 1,
      min_p: 0,
      top_k: 0,
      min_tokens: 0,
      logit_bias: {},
      parallel_tool_calls: true,
      response_format: { type: 'text' },
      chat_template_kwargs: {},
      seed: 7,
      verbosity: 'low',
      stop: null,
    }
    expect(() => vendors[vendor](neutral)).not.toThrow()
  },
)

const media = (part: unknown): { messages: readonly unknown[] } => ({
  messages: [{ role: 'user', content: [{ type: 'text', text: 'See' }, part] }],
})
const pdf = { type: 'file', file: { file_data: 'data:application/pdf;base64,JVBERg==' } }
const sound = { type: 'input_audio', input_audio: { data: 'UklGRg==', format: 'wav' } }
const bitmap = { type: 'image_url', image_url: { url: 'data:image/bmp;base64,Qk0=' } }

test('a PDF is a document to each in its own words', () => {
  expect(vendors.anthropic(media(pdf))).toMatchObject({
    messages: [
      {
        content: [
          {},
          {
            type: 'document',
            source: { type: 'base64', media_type: 'application/pdf', data: 'JVBERg==' },
          },
        ],
      },
    ],
  })
  expect(vendors.bedrock(media(pdf))).toMatchObject({
    messages: [
      {
        content: [{}, { document: { format: 'pdf', name: 'file', source: { bytes: 'JVBERg==' } } }],
      },
    ],
  })
  expect(vendors.gemini(media(pdf))).toMatchObject({
    contents: [{ parts: [{}, { inlineData: { mimeType: 'application/pdf', data: 'JVBERg==' } }] }],
  })
})

test('what a vendor cannot look at or hear is refused at its place', () => {
  const place = { code: 'client.unsupported_value', param: 'messages[0].content[1]' }
  expect(() => vendors.anthropic(media(sound))).toThrow(expect.objectContaining(place))
  expect(() => vendors.bedrock(media(sound))).toThrow(expect.objectContaining(place))
  expect(() => vendors.anthropic(media(bitmap))).toThrow(expect.objectContaining(place))
  expect(vendors.gemini(media(sound))).toMatchObject({
    contents: [{ parts: [{}, { inlineData: { mimeType: 'audio/wav' } }] }],
  })
})

const schema = { type: 'object', properties: { a: { type: 'string' } }, required: ['a'] }
const format = {
  response_format: { type: 'json_schema', json_schema: { name: 'it', schema, strict: true } },
}

test('a schema for the answer stands where each looks for it', () => {
  expect(vendors.anthropic(format)).toMatchObject({
    output_config: { format: { type: 'json_schema', schema } },
  })
  expect(vendors.bedrock(format)).toMatchObject({
    outputConfig: {
      textFormat: {
        type: 'json_schema',
        structure: { jsonSchema: { name: 'it', schema: JSON.stringify(schema) } },
      },
    },
  })
  expect(vendors.gemini(format)).toMatchObject({
    generationConfig: { responseMimeType: 'application/json', responseJsonSchema: schema },
  })
})

const called = {
  role: 'assistant',
  content: null,
  reasoning_content: 'I need the weather.',
  tool_calls: [{ id: 'c1', type: 'function', function: { name: 'f', arguments: '{bad' } }],
}
const conversation = [...hello, called, { role: 'tool', tool_call_id: 'c1', content: 'ok' }]

test('thoughts go back only with their proof, and nobody thinks on where it is missing', () => {
  const fields = { messages: conversation, reasoning_effort: 'high', max_tokens: 10_000 }
  expect(vendors.anthropic(fields)).toMatchObject({
    thinking: { type: 'disabled' },
    messages: [{}, { content: [{ type: 'tool_use', input: { arguments: '{bad' } }] }, {}],
  })
  const signed = { ...called, reasoning_signature: 'proof' }
  expect(
    vendors.anthropic({ ...fields, messages: [...hello, signed, ...conversation.slice(2)] }),
  ).toMatchObject({
    thinking: { type: 'enabled', budget_tokens: 5_000 },
    messages: [
      {},
      {
        content: [
          { type: 'thinking', thinking: 'I need the weather.', signature: 'proof' },
          { type: 'tool_use' },
        ],
      },
      {},
    ],
  })
})

test('a bound too small to think within leaves no thoughts', () => {
  expect(vendors.anthropic({ reasoning_effort: 'high', max_tokens: 500 })).toMatchObject({
    max_tokens: 500,
    thinking: { type: 'disabled' },
  })
})
