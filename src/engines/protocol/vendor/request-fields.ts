/** Fields of OpenAI's chat that a vendor has no word for. What would change the answer is refused by name; what would not is left out. */
import { Fault } from '../../../platform/fault.ts'
import { isRecord } from '../answer.ts'

type Body = Readonly<Record<string, unknown>>

/** Values that say the same as leaving the field out. */
const neutral: ReadonlyMap<string, (value: unknown) => boolean> = new Map(
  Object.entries({
    n: (value: unknown) => value === 1,
    logprobs: (value: unknown) => value === false,
    top_logprobs: (value: unknown) => value === 0,
    frequency_penalty: (value: unknown) => value === 0,
    presence_penalty: (value: unknown) => value === 0,
    repetition_penalty: (value: unknown) => value === 1,
    min_p: (value: unknown) => value === 0,
    top_k: (value: unknown) => value === 0,
    min_tokens: (value: unknown) => value === 0,
    logit_bias: (value: unknown) => isRecord(value) && Object.keys(value).length === 0,
    parallel_tool_calls: (value: unknown) => value === true,
    response_format: (value: unknown) => isRecord(value) && value['type'] === 'text',
    chat_template_kwargs: (value: unknown) => isRecord(value) && Object.keys(value).length === 0,
  }),
)

/** Wishes that vendors may or may not heed, whoever they are. */
const harmless: ReadonlySet<string> = new Set(['seed', 'verbosity'])

/** Throws `client.unsupported_value` for the first field that would be missed. */
export function refuseMissing(body: Body, known: ReadonlySet<string>): void {
  for (const [name, value] of Object.entries(body)) {
    if (known.has(name) || harmless.has(name) || value === undefined || value === null) continue
    if (neutral.get(name)?.(value)) continue
    throw unsupported(name)
  }
}

export function unsupported(param: string, text?: string): Fault {
  return new Fault({
    code: 'client.unsupported_value',
    public:
      text ??
      `The service behind this model does not know '${param}'. Leave it out, or use another model.`,
    param,
  })
}

export type Effort = 'none' | 'minimal' | 'low' | 'medium' | 'high' | 'xhigh'
const efforts: ReadonlySet<unknown> = new Set(['none', 'minimal', 'low', 'medium', 'high', 'xhigh'])

/**
 * How much to think; `undefined` leaves it to the model. The switches of open models' templates say it too; other variables are for templates, and vendors
 * have none.
 */
export function effortOf(body: Body): Effort | undefined {
  const { reasoning_effort: effort, chat_template_kwargs: variables } = body
  const { enable_thinking: enabled, thinking, ...others } = isRecord(variables) ? variables : {}
  if (Object.keys(others).length > 0) throw unsupported('chat_template_kwargs')
  if (enabled === false || thinking === false) return 'none'
  if (isEffort(effort)) return effort
  return enabled === true || thinking === true ? 'medium' : undefined
}

function isEffort(value: unknown): value is Effort {
  return efforts.has(value)
}

export function stopsOf(body: Body): readonly string[] | undefined {
  const { stop } = body
  const list: readonly unknown[] = Array.isArray(stop) ? stop : [stop]
  const texts = list.filter((each) => typeof each === 'string')
  return texts.length > 0 ? texts : undefined
}

export function numberOf(body: Body, name: string): number | undefined {
  const value = body[name]
  return typeof value === 'number' ? value : undefined
}

/** The schema that an answer must keep to. `json_object` has no schema, and vendors differ in what they make of it. */
export interface AnswerFormat {
  readonly type: 'json_object' | 'json_schema'
  readonly name: string
  readonly description: string | undefined
  readonly schema: Readonly<Record<string, unknown>>
}

export function formatOf(body: Body): AnswerFormat | undefined {
  const format = body['response_format']
  if (!isRecord(format) || (format['type'] !== 'json_object' && format['type'] !== 'json_schema')) {
    return undefined
  }
  const wanted = isRecord(format['json_schema']) ? format['json_schema'] : {}
  const { name, description, schema } = wanted
  return {
    type: format['type'],
    name: typeof name === 'string' ? name : 'answer',
    description: typeof description === 'string' ? description : undefined,
    schema: isRecord(schema) ? schema : { type: 'object' },
  }
}

/** For vendors whose models answer JSON by a schema, and not otherwise. */
export function schemaFormatOf(body: Body): AnswerFormat | undefined {
  const format = formatOf(body)
  if (format?.type !== 'json_object') return format
  throw unsupported(
    'response_format',
    "This model answers JSON by a schema only: use the response format 'json_schema'.",
  )
}

export function withoutUndefined(
  fields: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}
