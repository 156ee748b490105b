/**
 * How a model writes a tool call. Most write `{"name": …, "arguments": …}`, and differ in what stands around it. Which one it is shows
 * when the template renders a past call. For templates that know no tools, or write calls in another way, the tools
 * are explained in a system message, and the first form is asked for.
 */
import type { WireTool } from './chat-request.ts'
import type { ChatTemplate, TemplateMessage } from './chat-template.ts'

export interface ToolFormat {
  /** What precedes the first call; '' when the answer begins with its brace. */
  readonly opening: string
  /** Between calls; `undefined` when only one fits into an answer. */
  readonly separator: string | undefined
  readonly closing: string
  readonly argumentsKey: 'arguments' | 'parameters'
}

const tagged: ToolFormat = {
  opening: '<tool_call>\n',
  separator: '\n</tool_call>\n<tool_call>\n',
  closing: '\n</tool_call>',
  argumentsKey: 'arguments',
}
const listed: ToolFormat = {
  opening: '[TOOL_CALLS][',
  separator: ', ',
  closing: ']',
  argumentsKey: 'arguments',
}

const probe = 'colonnade_probe'

/** Returns the template's own form, or `undefined` when the tools have to be explained by us. */
export function nativeToolFormat(template: ChatTemplate): ToolFormat | undefined {
  if (!template.knowsTools) return undefined
  const rendered = renderProbe(template)
  const call = new RegExp(
    `(<tool_call>|\\[TOOL_CALLS\\])?\\s*\\[?\\s*\\{\\s*"name":\\s*"${probe}",\\s*"(arguments|parameters)":`,
  ).exec(rendered)
  if (!call) return undefined
  if (call[1] === '<tool_call>') return tagged
  if (call[1] === '[TOOL_CALLS]') return listed
  const argumentsKey = call[2] === 'parameters' ? 'parameters' : 'arguments'
  return { opening: '', separator: undefined, closing: '', argumentsKey }
}

function renderProbe(template: ChatTemplate): string {
  const messages: TemplateMessage[] = [
    { role: 'user', content: 'a' },
    {
      role: 'assistant',
      content: '',
      tool_calls: [
        { id: 'call00000', type: 'function', function: { name: probe, arguments: { a: 'b' } } },
      ],
    },
    { role: 'tool', content: 'c', tool_call_id: 'call00000' },
  ]
  try {
    return template.render(messages, [
      { type: 'function', function: { name: probe, description: 'd', parameters: {} } },
    ])
  } catch {
    return ''
  }
}

export const explainedToolFormat = tagged

/** Adds the tools to the system message, and turns past calls and results into text in the same form. */
export function explainTools(
  messages: readonly TemplateMessage[],
  tools: readonly WireTool[],
): readonly TemplateMessage[] {
  const told = messages.map(callsToText)
  const explanation = explain(tools)
  const [first, ...rest] = told
  if (first && (first.role === 'system' || first.role === 'developer')) {
    return [{ ...first, content: `${first.content}\n\n${explanation}` }, ...rest]
  }
  return [{ role: 'system', content: explanation }, ...told]
}

function explain(tools: readonly WireTool[]): string {
  const list = tools.map((tool) => JSON.stringify(withoutNulls(tool.function))).join('\n')
  return [
    'You may call functions to help with the request. These functions exist, with their parameters as JSON Schema:',
    `<tools>\n${list}\n</tools>`,
    'To call a function, answer with its name and its arguments, in this form and with nothing else:',
    '<tool_call>\n{"name": "function name", "arguments": {"parameter": "value"}}\n</tool_call>',
    'When no function helps, answer in plain text.',
  ].join('\n')
}

/** Past calls and results as text, for templates that have no place for them. */
export function callsToText(message: TemplateMessage): TemplateMessage {
  if (message.role === 'tool' || message.role === 'function') {
    return { role: 'user', content: `<tool_response>\n${message.content}\n</tool_response>` }
  }
  if (!message.tool_calls?.length) return message
  const calls = message.tool_calls.map(
    ({ function: called }) =>
      `${tagged.opening}{"name": ${JSON.stringify(called.name)}, "arguments": ${JSON.stringify(called.arguments)}}${tagged.closing}`,
  )
  const content = [message.content, ...calls].filter((part) => part !== '').join('\n')
  return { role: 'assistant', content }
}

function withoutNulls(value: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(value).filter(([, field]) => field !== null && field !== undefined),
  )
}
