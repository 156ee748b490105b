/** Calls of functions that the client offers. */
import { askChat, choicesOf, streamChat, type ChatStream, type ToolCall } from '../answer.ts'
import { must, skip, type Check } from '../check.ts'
import { mustMatch } from '../json-schema.ts'
import { chatBody, type ChatFields } from '../prompt.ts'

const shared = { categories: ['chat'], capability: 'tools' } as const
const callTokens = 96

const weatherParameters = {
  type: 'object',
  properties: {
    city: { type: 'string', enum: ['Paris', 'London', 'Berlin'] },
    unit: { type: 'string', enum: ['celsius', 'fahrenheit'] },
    days: { type: 'integer', minimum: 1, maximum: 9 },
  },
  required: ['city', 'unit', 'days'],
  additionalProperties: false,
}
const clockParameters = {
  type: 'object',
  properties: { zone: { type: 'string', enum: ['Europe/Paris', 'Europe/London'] } },
  required: ['zone'],
  additionalProperties: false,
}
const weather = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'The weather of a city',
    parameters: weatherParameters,
  },
}
const clock = {
  type: 'function',
  function: {
    name: 'get_time',
    description: 'The time in a zone',
    parameters: clockParameters,
  },
}
const schemas: Readonly<Record<string, object>> = {
  get_weather: weatherParameters,
  get_time: clockParameters,
}
const question = 'What is the weather in Paris for the next two days, in celsius?'
const required: ChatFields = {
  max_tokens: callTokens,
  tools: [weather],
  tool_choice: 'required',
  parallel_tool_calls: false,
}

export const toolsRequired: Check = {
  ...shared,
  id: 'tools.required',
  title: 'a required call is made, with arguments of the schema, and finishes as `tool_calls`',
  advice:
    'Agents cannot work with this model. Check that the engine has a tool parser for it, or constrains the arguments.',
  required: true,
  async run(api, subject) {
    const { choices } = await askChat(api, chatBody(subject, question, required))
    const calls = choices[0]?.message.tool_calls ?? []
    must(calls.length > 0, 'no tool was called')
    for (const call of calls) mustBeCall(call)
    const reason = choices[0]?.finish_reason
    must(reason === 'tool_calls', 'the finish reason is not tool_calls')
  },
}

function mustBeCall(call: ToolCall): void {
  must(call.id, 'a call has no id')
  must(call.type === 'function', 'a call is not of the type function')
  const schema = schemas[call.function?.name ?? '']
  must(schema, 'a tool was called that was not offered')
  mustMatch(call.function?.arguments, schema, 'a list of arguments')
}

export const toolsStream: Check = {
  ...shared,
  id: 'tools.stream',
  title: 'the pieces of a streamed call make one call with valid arguments',
  advice: 'Agents that stream get broken calls. The engine mixes up the pieces of calls.',
  required: true,
  async run(api, subject) {
    const stream = await streamChat(api, chatBody(subject, question, required))
    const calls = gatherCalls(stream)
    must(calls.length > 0, 'no tool was called')
    for (const call of calls) mustBeCall(call)
  },
}

/** As SDKs do: a piece with a name begins a call, the others go on with the call of their index. */
function gatherCalls(stream: ChatStream): readonly ToolCall[] {
  const calls: ToolCall[] = []
  for (const piece of piecesOf(stream)) {
    const added = piece.function?.arguments ?? ''
    const last = calls.findLastIndex(({ index }) => index === piece.index)
    const known = calls[last]
    if (piece.function?.name !== undefined || !known) calls.push(piece)
    else {
      const sum = { ...known.function, arguments: (known.function?.arguments ?? '') + added }
      calls[last] = { ...known, function: { name: undefined, ...sum } }
    }
  }
  return calls
}

function piecesOf(stream: ChatStream): readonly ToolCall[] {
  return choicesOf(stream).flatMap(({ delta }) => delta.tool_calls ?? [])
}

export const toolsParallel: Check = {
  ...shared,
  id: 'tools.parallel',
  title: 'calls that are made at once have ids and indices of their own',
  advice: 'Agents mix up results of calls. The engine numbers all calls alike.',
  required: true,
  async run(api, subject) {
    const fields = {
      max_tokens: 2 * callTokens,
      tools: [weather, clock],
      tool_choice: 'required',
      parallel_tool_calls: true,
    }
    const prompt = `${question} And what time is it there? Call both tools.`
    const stream = await streamChat(api, chatBody(subject, prompt, fields))
    const starts = piecesOf(stream).filter((piece) => piece.function?.name !== undefined)
    if (starts.length < 2) skip('the model makes one call at a time')
    const ids = new Set(starts.map(({ id }) => id))
    const indices = new Set(starts.map(({ index }) => index))
    must(ids.size === starts.length && !ids.has(undefined), 'two calls have the same id, or none')
    must(indices.size === starts.length, 'two calls have the same index')
  },
}

export const toolsResult: Check = {
  ...shared,
  id: 'tools.result',
  title: "a tool's result is taken, and the model goes on in words",
  advice: "Agents stop after the first call. The model's chat template does not know results.",
  required: true,
  async run(api, subject) {
    const call = {
      id: 'call_1',
      type: 'function',
      function: { name: 'get_weather', arguments: '{"city":"Paris","unit":"celsius","days":2}' },
    }
    const messages = [
      { role: 'user', content: question },
      { role: 'assistant', content: null, tool_calls: [call] },
      { role: 'tool', tool_call_id: 'call_1', content: '{"celsius":[18,21]}' },
    ]
    const fields = { max_tokens: 24, messages, tools: [weather], tool_choice: 'none' }
    const { choices } = await askChat(api, chatBody(subject, '', fields))
    const message = choices[0]?.message
    must(message?.content || message?.reasoning_content, 'there is no answer after the result')
    must(!message.tool_calls?.length, 'a tool is called, although none may be')
  },
}

export const toolsNamed: Check = {
  ...shared,
  id: 'tools.named',
  title: 'the one tool that is named is called, and the answer finishes as `stop`',
  advice:
    'Clients that force a function get another one. The engine takes `tool_choice` for a wish.',
  required: true,
  async run(api, subject) {
    const fields = {
      max_tokens: callTokens,
      tools: [weather, clock],
      tool_choice: { type: 'function', function: { name: 'get_time' } },
    }
    const { choices } = await askChat(api, chatBody(subject, question, fields))
    const calls = choices[0]?.message.tool_calls ?? []
    must(calls.length > 0, 'no tool was called')
    must(
      calls.every((call) => call.function?.name === 'get_time'),
      'another tool was called than the one that was named',
    )
    must(choices[0]?.finish_reason === 'stop', 'the finish reason is not stop')
  },
}
