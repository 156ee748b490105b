/** Answers that are to be JSON, of any kind or of a schema. */
import { askIfSupported, chatPath, readChat } from '../answer.ts'
import { fail, skip, type Api, type Check, type Subject } from '../check.ts'
import { mustMatch } from '../json-schema.ts'
import { chatBody } from '../prompt.ts'

const shared = { categories: ['chat'], required: true } as const
const answerTokens = 160

export const jsonFree: Check = {
  ...shared,
  id: 'json.object',
  title: 'an answer in the format json_object is one JSON object',
  advice: 'Clients cannot parse answers. The engine takes `response_format` for a wish.',
  // Without a schema a model may write on and on.
  required: false,
  async run(api, subject) {
    const prompt = 'Answer with a JSON object with the keys "city" and "country" for Paris.'
    const text = await askFormatted(api, subject, prompt, { type: 'json_object' })
    mustMatch(text, { type: 'object' }, 'the answer')
  },
}

async function askFormatted(
  api: Api,
  subject: Subject,
  prompt: string,
  format: object,
): Promise<string> {
  const body = chatBody(subject, prompt, { max_tokens: answerTokens, response_format: format })
  const answer = await askIfSupported(api, { path: chatPath, body })
  if (!answer) skip('the engine knows no such format, and says so')
  const [choice] = readChat(answer).choices
  if (choice?.finish_reason === 'length')
    fail(`the answer did not end within ${answerTokens} tokens`)
  return choice?.message.content ?? ''
}

/** What answers are held to. Each ends by itself, so that no model can write on and on. */
const flat = {
  type: 'object',
  properties: {
    colour: { enum: ['red', 'green', 'blue'] },
    count: { type: 'integer', enum: [1, 2, 3] },
    sure: { type: 'boolean' },
  },
  required: ['colour', 'count', 'sure'],
  additionalProperties: false,
}
const point = {
  type: 'object',
  properties: { axis: { enum: ['x', 'y'] }, positive: { type: 'boolean' } },
  required: ['axis', 'positive'],
  additionalProperties: false,
}
const nested = {
  type: 'object',
  properties: {
    place: {
      type: 'object',
      properties: { city: { enum: ['Paris', 'London'] }, origin: { $ref: '#/$defs/point' } },
      required: ['city', 'origin'],
      additionalProperties: false,
    },
  },
  required: ['place'],
  additionalProperties: false,
  $defs: { point },
}
const list = {
  type: 'object',
  properties: {
    points: { type: 'array', items: point, minItems: 2, maxItems: 2 },
    note: { anyOf: [{ type: 'null' }, { enum: ['none', 'some'] }] },
  },
  required: ['points', 'note'],
  additionalProperties: false,
}

function schemaCheck(name: string, title: string, schema: object): Check {
  return {
    ...shared,
    id: `json.${name}`,
    title: `a strict json_schema is kept: ${title}`,
    advice:
      'Clients that rely on structured answers fail now and then. The engine does not constrain what the model writes.',
    async run(api, subject) {
      const format = { type: 'json_schema', json_schema: { name, strict: true, schema } }
      const prompt = 'Make up an example. Answer in JSON.'
      mustMatch(await askFormatted(api, subject, prompt, format), schema, 'the answer')
    },
  }
}

export const jsonEnum = schemaCheck('enum', 'enumerations, numbers, booleans', flat)
export const jsonNested = schemaCheck('nested', 'objects in objects, with definitions', nested)
export const jsonArray = schemaCheck('array', 'lists of objects, alternatives', list)
