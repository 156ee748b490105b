/**
 * Tools, in all the ways in which clients offer and choose them. Engines hear of two: a list of functions, and none, auto, required or one by name.
 * What OpenAI had before tools (`functions`), and what it has beyond them (`allowed_tools`), is put into those terms here.
 */
import { z } from 'zod'
import { Fault } from '../../../platform/fault.ts'

/** Coding agents with several servers of tools offer hundreds, under long names. */
const toolsMax = 1_024

const name = z.string().regex(/^[\w.-]{1,128}$/, 'use 1 to 128 letters, digits, _, - or .')
const functionDefinition = z.object({
  name,
  description: z.string().nullish(),
  parameters: z.record(z.string(), z.unknown()).nullish(),
  strict: z.boolean().nullish(),
})
const tool = z.object({
  type: z.literal('function', 'only functions can be offered: custom tools are not supported'),
  function: functionDefinition,
})
const named = z.object({ name: z.string().max(200) })
const namedTool = z.object({ type: z.literal('function'), function: named })
const allowedTools = z.object({
  type: z.literal('allowed_tools'),
  allowed_tools: z.object({
    mode: z.enum(['auto', 'required']),
    tools: z.array(namedTool).min(1).max(toolsMax),
  }),
})

export const toolFields = {
  tools: z.array(tool).max(toolsMax).nullish(),
  tool_choice: z
    .union(
      [z.enum(['none', 'auto', 'required']), namedTool, allowedTools],
      "takes 'none', 'auto', 'required', a function by its name, or 'allowed_tools'",
    )
    .nullish(),
  parallel_tool_calls: z.boolean().nullish(),
}
/** The form before tools. It knows one call an answer. */
export const functionFields = {
  functions: z.array(functionDefinition).max(toolsMax).nullish(),
  function_call: z.union([z.enum(['none', 'auto']), named]).nullish(),
}

const fields = z.object({ ...toolFields, ...functionFields })
type ToolFields = z.infer<typeof fields>
type Tool = z.infer<typeof tool>
type NamedTool = z.infer<typeof namedTool>

export interface ToolPlan {
  /** For the engine; empty when there are none. */
  readonly tools: readonly Tool[]
  readonly toolChoice: 'none' | 'auto' | 'required' | NamedTool | undefined
  readonly parallelToolCalls: boolean | undefined
  /** The caller named the function, so that a call is no news: it ends with `stop`. */
  readonly isNamed: boolean
  /** The caller asked in the form before tools, and is answered in it. */
  readonly usesFunctions: boolean
}

/** Throws `client.invalid_request` for a choice of what was not offered. */
export function planTools(request: ToolFields): ToolPlan {
  if (request.functions?.length || request.function_call) return planFunctions(request)
  const tools = request.tools ?? []
  const choice = request.tool_choice ?? undefined
  const parallelToolCalls =
    tools.length > 0 ? (request.parallel_tool_calls ?? undefined) : undefined
  const plan = { tools, parallelToolCalls, isNamed: false, usesFunctions: false }
  if (choice === undefined) return { ...plan, toolChoice: undefined }
  if (choice === 'none') return { ...plan, toolChoice: tools.length > 0 ? choice : undefined }
  if (tools.length === 0) {
    throw refuse("'tool_choice' is only allowed when 'tools' are specified.", 'tool_choice')
  }
  if (typeof choice === 'string') return { ...plan, toolChoice: choice }
  if (choice.type === 'function') {
    refuseUnknown([choice], tools, 'tool_choice')
    return { ...plan, toolChoice: choice, isNamed: true }
  }
  const { mode, tools: allowed } = choice.allowed_tools
  refuseUnknown(allowed, tools, 'tool_choice')
  const names = new Set(allowed.map((each) => each.function.name))
  return { ...plan, tools: tools.filter((each) => names.has(each.function.name)), toolChoice: mode }
}

function planFunctions(request: ToolFields): ToolPlan {
  if (request.tools?.length) {
    throw refuse("'functions' and 'tools' cannot be used together. Use 'tools'.", 'functions')
  }
  const tools = (request.functions ?? []).map((each): Tool => ({
    type: 'function',
    function: each,
  }))
  const choice = request.function_call ?? undefined
  if (tools.length === 0) {
    throw refuse("'function_call' is only allowed when 'functions' are specified.", 'function_call')
  }
  const plan = { tools, parallelToolCalls: false, usesFunctions: true }
  if (typeof choice !== 'object') return { ...plan, toolChoice: choice, isNamed: false }
  const toolChoice: NamedTool = { type: 'function', function: choice }
  refuseUnknown([toolChoice], tools, 'function_call')
  return { ...plan, toolChoice, isNamed: true }
}

function refuseUnknown(chosen: readonly NamedTool[], tools: readonly Tool[], param: string): void {
  const names = new Set(tools.map((each) => each.function.name))
  if (chosen.every((each) => names.has(each.function.name))) return
  throw refuse(`'${param}' names a function that is not offered.`, param)
}

function refuse(text: string, param: string): Fault {
  return new Fault({ code: 'client.invalid_request', public: text, param })
}
