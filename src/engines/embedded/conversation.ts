/** From a chat request to what the model reads, and to the grammar that its answer follows. Pure. */
import { Fault } from '../../platform/fault.ts'
import {
  templateVariablesOf,
  type WireChatRequest,
  type WireMessage,
  type WireTool,
} from './chat-request.ts'
import { charactersPerTokenMax, refuseHopeless, tooLong } from './context-length.ts'
import type { ChatTemplate, TemplateMessage } from './chat-template.ts'
import { createGrammarRules, quote, type GrammarRules } from './json-schema-grammar.ts'
import { thinkingStart, type ThinkingStart } from './reasoning-reader.ts'
import { explainedToolFormat, explainTools, callsToText, type ToolFormat } from './tool-format.ts'
import type { Vocabulary } from './vocabulary.ts'

export interface ConversationPlan {
  readonly prompt: Uint32Array
  readonly grammar: string | undefined
  /** `undefined` when the answer is text only. */
  readonly toolFormat: ToolFormat | undefined
  /** The caller named the function, so a call is no news: it ends with `stop`. */
  readonly isForcedByName: boolean
  /** How the answer begins, where the model thinks. */
  readonly thinking: ThinkingStart
}

export interface ConversationModel {
  readonly template: ChatTemplate
  readonly vocabulary: Vocabulary
  readonly windowTokens: number
  /** How the template itself writes calls; `undefined` when it does not. */
  readonly nativeToolFormat: ToolFormat | undefined
}

/** Calls in one answer. A small model that may go on does go on. */
const callsMax = 8

export function planConversation(
  request: WireChatRequest,
  model: ConversationModel,
): ConversationPlan {
  const { vocabulary, windowTokens } = model
  const limit = { windowTokens, param: 'messages', subject: 'your messages' }
  const characters = request.messages.reduce((sum, each) => sum + (each.content?.length ?? 0), 0)
  // Every character of a message is rendered at least once.
  if (characters > windowTokens * charactersPerTokenMax) throw tooLong(limit, windowTokens, false)
  const tools = request.tool_choice === 'none' ? [] : (request.tools ?? [])
  const toolFormat =
    tools.length === 0 ? undefined : (model.nativeToolFormat ?? explainedToolFormat)
  const messages = request.messages.map((message) => toTemplateMessage(message))
  const rendered = render(model, {
    messages: shieldDeep(messages, vocabulary),
    tools: shieldDeep(tools, vocabulary),
    variables: shieldDeep(templateVariablesOf(request), vocabulary),
  })
  refuseHopeless(limit, rendered, vocabulary.tokenizeText)
  const prompt = vocabulary.tokenizePrompt(rendered)
  if (prompt.length >= windowTokens) throw tooLong(limit, prompt.length, true)
  return {
    prompt,
    grammar: grammarOf(request, tools, toolFormat),
    thinking:
      model.template.knowsThinking && beginsFreely(request, toolFormat)
        ? thinkingStart(rendered)
        : 'none',
    toolFormat,
    isForcedByName:
      toolFormat !== undefined &&
      typeof request.tool_choice === 'object' &&
      request.tool_choice !== null,
  }
}

function render(
  { template, nativeToolFormat }: ConversationModel,
  said: {
    readonly messages: readonly TemplateMessage[]
    readonly tools: readonly WireTool[]
    readonly variables: Readonly<Record<string, unknown>>
  },
): string {
  const { messages, tools, variables } = said
  if (nativeToolFormat) {
    return template.render(messages, tools.length > 0 ? tools : undefined, variables)
  }
  if (tools.length > 0) return template.render(explainTools(messages, tools), undefined, variables)
  return template.render(messages.map(callsToText), undefined, variables)
}

function toTemplateMessage(message: WireMessage): TemplateMessage {
  return {
    role: message.role,
    content: message.content ?? '',
    name: message.name ?? undefined,
    reasoning_content: message.reasoning_content ?? undefined,
    tool_call_id: message.tool_call_id ?? undefined,
    tool_calls: message.tool_calls?.map((call) => ({
      id: call.id,
      type: 'function' as const,
      function: { name: call.function.name, arguments: parsed(call.function.arguments) },
    })),
  }
}

/** Arguments that are no JSON were written by a model, and are shown to it as they were. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** What callers write must not end turns or begin new ones, wherever in a message it stands. */
function shieldDeep<T>(value: T, vocabulary: Vocabulary): T {
  const shield = (each: unknown): unknown => {
    if (typeof each === 'string') return vocabulary.shield(each)
    if (Array.isArray(each)) return each.map(shield)
    if (typeof each !== 'object' || each === null) return each
    return Object.fromEntries(
      Object.entries(each).map(([key, field]) => [vocabulary.shield(key), shield(field)]),
    )
  }
  // The shape stays: only texts change.
  return shield(value) as T
}

function grammarOf(
  request: WireChatRequest,
  tools: readonly WireTool[],
  format: ToolFormat | undefined,
): string | undefined {
  const rules = createGrammarRules()
  const json = jsonRule(rules, request)
  if (!format) return json === undefined ? undefined : rules.text(json)
  const choice = request.tool_choice ?? 'auto'
  const offered =
    typeof choice === 'object'
      ? tools.filter((tool) => tool.function.name === choice.function.name)
      : tools
  const isParallel = typeof choice !== 'object' && request.parallel_tool_calls !== false
  const calls = callsRule(rules, offered, format, isParallel)
  if (choice !== 'auto') return rules.text(calls)
  if (json !== undefined) return rules.text(`${calls} | ${json}`)
  return rules.text(textOrCalls(rules, calls, format.opening))
}

/** A grammar that holds from the first token leaves no room for thoughts. */
function beginsFreely(request: WireChatRequest, format: ToolFormat | undefined): boolean {
  const isText = (request.response_format?.type ?? 'text') === 'text'
  return isText && (format === undefined || (request.tool_choice ?? 'auto') === 'auto')
}

function jsonRule(rules: GrammarRules, request: WireChatRequest): string | undefined {
  const format = request.response_format
  if (format?.type === 'json_object') return rules.addObject()
  if (format?.type !== 'json_schema') return undefined
  const { schema, strict } = format.json_schema
  if (schema === null || schema === undefined) return rules.addObject()
  if (schema === false) {
    throw new Fault({
      code: 'client.unsupported_value',
      public: 'The schema allows no answer at all.',
      param: 'response_format.json_schema.schema',
    })
  }
  return rules.addSchema(schema, {
    isStrict: strict === true,
    param: 'response_format.json_schema.schema',
  })
}

function callsRule(
  rules: GrammarRules,
  tools: readonly WireTool[],
  format: ToolFormat,
  isParallel: boolean,
): string {
  const each = tools.map((tool) => {
    const { name, parameters, strict } = tool.function
    const body = rules.addSchema(
      { type: 'object', ...(parameters ?? { properties: {} }) },
      { isStrict: strict === true, param: 'tools' },
    )
    const head = quote(`{"name": ${JSON.stringify(name)}, "${format.argumentsKey}": `)
    return rules.define('call', `${head} ${body} "}"`)
  })
  const call = rules.define('calls', each.join(' | '))
  const more =
    isParallel && format.separator !== undefined
      ? ` (${quote(format.separator)} ${call}){0,${callsMax - 1}}`
      : ''
  const opening = format.opening === '' ? '' : `${quote(format.opening)} `
  const closing = format.closing === '' ? '' : ` ${quote(format.closing)}`
  return rules.define('tools', `${opening}${call}${more}${closing}`)
}

/** Free text up to the marker of a call; from there on only a call, and nothing after it. */
function textOrCalls(rules: GrammarRules, calls: string, opening: string): string {
  const any = rules.define('any', '[^\\x00]')
  const marker = opening.trim()
  if (marker === '') return `${calls} | [^{\\x00] ${any}*`
  const text = rules.define('text', `(${unlike(marker)})*`)
  return `${text} ${calls}?`
}

/** One character, or the beginning of the marker and then a character that leaves it. */
function unlike(marker: string): string {
  const [first = '', ...rest] = marker
  const other = `[^${inClass(first)}\\x00]`
  return rest.length === 0 ? other : `${other} | ${quote(first)} (${unlike(rest.join(''))})`
}

function inClass(character: string): string {
  return character.replace(/[\\\]^[-]/g, (special) => `\\${special}`)
}
