/** The items of a conversation, each by the schema of its type. Items that OpenAI's own services made, and that only they can read, are refused. */
import { z } from 'zod'
import { Fault } from '../../../platform/fault.ts'
import { invalidField } from '../openai/chat-request.ts'

const partsMax = 1_000

const texts = ['input_text', 'output_text', 'text', 'summary_text', 'reasoning_text'] as const
const textPart = z.object({ type: z.enum(texts), text: z.string() })
const inputPart = z.discriminatedUnion('type', [
  textPart,
  z.object({ type: z.literal('refusal'), refusal: z.string() }),
  z.object({
    type: z.literal('input_image'),
    image_url: z.string().nullish(),
    file_id: z.string().nullish(),
    detail: z.enum(['auto', 'low', 'high', 'original']).nullish(),
  }),
  z.object({
    type: z.literal('input_file'),
    file_data: z.string().nullish(),
    file_id: z.string().nullish(),
    file_url: z.string().nullish(),
    filename: z.string().max(255).nullish(),
  }),
  z.object({
    type: z.literal('input_audio'),
    input_audio: z.object({ data: z.string(), format: z.string().max(20) }),
  }),
])
export type InputPart = z.infer<typeof inputPart>
const content = z.union([z.string(), z.array(inputPart).max(partsMax)])
const callId = z.string().min(1).max(200)
const toolName = z.string().min(1).max(200)

const message = z.object({
  type: z.literal('message'),
  role: z.enum(['user', 'assistant', 'system', 'developer']),
  content,
})
const functionCall = z.object({
  type: z.literal('function_call'),
  call_id: callId,
  name: toolName,
  arguments: z.string(),
})
const customCall = z.object({
  type: z.literal('custom_tool_call'),
  call_id: callId,
  name: toolName,
  input: z.string(),
})
const functionOutput = z.object({
  type: z.literal('function_call_output'),
  call_id: callId,
  output: content,
})
const customOutput = z.object({
  type: z.literal('custom_tool_call_output'),
  call_id: callId,
  output: content,
})
const reasoning = z.object({
  type: z.literal('reasoning'),
  summary: z.array(textPart).max(partsMax).nullish(),
  content: z.array(textPart).max(partsMax).nullish(),
  encrypted_content: z.string().nullish(),
})

export const schemas = {
  message,
  function_call: functionCall,
  custom_tool_call: customCall,
  function_call_output: functionOutput,
  custom_tool_call_output: customOutput,
  reasoning,
} as const
export type InputItem = z.infer<(typeof schemas)[keyof typeof schemas]>

export function parseItem(value: unknown, index: number): InputItem {
  const type = typeOf(value)
  if (type === 'item_reference') {
    throw refuse(
      'No item can be named by its id here. Send it whole, as many clients do when store is false; or go on from a kept response with previous_response_id.',
      index,
    )
  }
  if (!isKnown(type)) {
    const known = Object.keys(schemas).join(', ')
    throw refuse(`Items of this type are not supported. The types are ${known}.`, index)
  }
  const item = typeof value === 'object' ? { ...value, type } : value
  const parsed = schemas[type].safeParse(item)
  if (parsed.success) return parsed.data
  const error = new z.ZodError(
    parsed.error.issues.map((issue) => ({ ...issue, path: ['input', index, ...issue.path] })),
  )
  throw invalidField(error)
}

/** The short form of a message leaves the type out. */
function typeOf(value: unknown): string {
  const type =
    typeof value === 'object' && value !== null && 'type' in value ? value.type : undefined
  return typeof type === 'string' ? type : 'message'
}

function isKnown(type: string): type is keyof typeof schemas {
  return Object.hasOwn(schemas, type)
}

function refuse(text: string, index: number): Fault {
  return new Fault({
    code: 'client.unsupported_value',
    public: text,
    param: `input[${index}].type`,
  })
}
