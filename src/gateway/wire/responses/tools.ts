/**
 * Tools as the Responses API writes them. Engines know functions alone: a custom tool, whose input is free text, becomes a function with one string,
 * and its calls are turned back. Tools that OpenAI runs on its own servers are refused.
 */
import { z } from 'zod'
import { Fault } from '../../../platform/fault.ts'
import { invalidField } from '../openai/chat-request.ts'

/** As chats take them: coding agents offer hundreds, under long names. */
export const toolsMax = 1_024

const name = z.string().regex(/^[\w.-]{1,128}$/, 'use 1 to 128 letters, digits, _, - or .')
export const functionTool = z.object({
  type: z.literal('function'),
  name,
  description: z.string().nullish(),
  parameters: z.record(z.string(), z.unknown()).nullish(),
  strict: z.boolean().nullish(),
})
export const customTool = z.object({
  type: z.literal('custom'),
  name,
  description: z.string().nullish(),
  format: z.object({ type: z.enum(['text', 'grammar']) }).nullish(),
})
export type ResponseTool = z.infer<typeof functionTool> | z.infer<typeof customTool>

const named = z.object({ type: z.enum(['function', 'custom']), name: z.string().max(200) })
export const toolChoice = z.union(
  [
    z.enum(['none', 'auto', 'required']),
    named,
    z.object({
      type: z.literal('allowed_tools'),
      mode: z.enum(['auto', 'required']),
      tools: z.array(named).min(1).max(toolsMax),
    }),
  ],
  "takes 'none', 'auto', 'required', a function or custom tool by its name, or 'allowed_tools' with such",
)
type ToolChoice = z.infer<typeof toolChoice>

export function parseTool(value: unknown, index: number): ResponseTool {
  const type = typeof value === 'object' && value !== null && 'type' in value ? value.type : ''
  if (type !== 'function' && type !== 'custom') {
    const text =
      'No tools are run here: no web search, file search, code interpreter, computer, MCP server or image generation. Offer functions or custom tools, and run them yourself.'
    throw refuse(text, `tools[${index}].type`)
  }
  const parsed = (type === 'function' ? functionTool : customTool).safeParse(value)
  if (!parsed.success) {
    const issues = parsed.error.issues.map((issue) => ({
      ...issue,
      path: ['tools', index, ...issue.path],
    }))
    throw invalidField(new z.ZodError(issues))
  }
  const tool = parsed.data
  if (tool.type === 'custom' && tool.format?.type === 'grammar') {
    const text =
      "Grammars for custom tools are not supported. Leave 'format' out, or describe the form in 'description'."
    throw refuse(text, `tools[${index}].format`)
  }
  return tool
}

/** As a chat has them. */
export function toChatTool(tool: ResponseTool): Record<string, unknown> {
  const { name: toolName, description } = tool
  const parameters = tool.type === 'custom' ? customParameters : tool.parameters
  return {
    type: 'function',
    function: {
      name: toolName,
      ...(description ? { description } : {}),
      ...(parameters ? { parameters } : {}),
      ...(tool.type === 'function' && typeof tool.strict === 'boolean'
        ? { strict: tool.strict }
        : {}),
    },
  }
}

const customParameters = {
  type: 'object',
  properties: { input: { type: 'string', description: 'The input of the tool, as plain text.' } },
  required: ['input'],
  additionalProperties: false,
}

/** A custom tool's input as the arguments of its function. */
export function toArguments(input: string): string {
  return JSON.stringify({ input })
}

export function toChatToolChoice(choice: ToolChoice): unknown {
  if (typeof choice === 'string') return choice
  if (choice.type !== 'allowed_tools') return toFunction(choice)
  const { mode, tools } = choice
  return { type: 'allowed_tools', allowed_tools: { mode, tools: tools.map(toFunction) } }
}

function toFunction(tool: z.infer<typeof named>): unknown {
  return { type: 'function', function: { name: tool.name } }
}

function refuse(text: string, param: string): Fault {
  return new Fault({ code: 'client.unsupported_value', public: text, param })
}
