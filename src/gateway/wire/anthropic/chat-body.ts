/**
 * Anthropic's request in OpenAI's words, which are what engines speak. Nothing is added that the caller did not say; what open models know no word for is
 * left out: where prefixes end that should be cached, and what only Anthropic can read.
 */
import type { Block, CountRequest, Message, MessageRequest, ShownBlock } from './request.ts'

type ChatMessage = Readonly<Record<string, unknown>>
type ChatPart = Readonly<Record<string, unknown>> & { readonly type: string }
type BlockOf<Type extends Block['type']> = Extract<Block, { type: Type }>

/** Between texts that stood in blocks of their own. */
const gap = '\n\n'
/** Thinking budgets up to these are a low and a medium effort. */
const lowBudgetTokens = 4_096
const mediumBudgetTokens = 16_384
/** Coding agents write accounts of themselves, new with each request, before the system's text: no prefix after them could be cached. */
const agentAccount = /^x-anthropic-billing-header:[^\n]*\n*/

export function toChatBody(request: CountRequest & Partial<MessageRequest>): ChatMessage {
  const { tools, tool_choice: choice } = request
  return {
    model: request.model,
    stream: request.stream,
    max_tokens: request.max_tokens,
    messages: [
      ...toSystem(request.system ?? []),
      ...mergeTurns(request.messages).flatMap(toChatMessages),
    ],
    temperature: request.temperature,
    top_k: request.top_k,
    top_p: request.top_p,
    stop: request.stop_sequences?.length ? request.stop_sequences : undefined,
    ...(tools?.length ? { tools: tools.map(toChatTool), ...toToolChoice(choice) } : {}),
    response_format: toResponseFormat(request),
    ...toReasoning(request),
  }
}

function toSystem(system: readonly BlockOf<'text'>[]): ChatMessage[] {
  const [first, ...rest] = system.map((each) => each.text)
  const texts = [first?.replace(agentAccount, '') ?? '', ...rest].filter((each) => each !== '')
  return texts.length === 0 ? [] : [{ role: 'system', content: texts.join(gap) }]
}

/** As Anthropic does: neighbours of one role are one turn. */
function mergeTurns(messages: readonly Message[]): readonly Message[] {
  const turns: Message[] = []
  for (const message of messages) {
    const last = turns.at(-1)
    if (last?.role === message.role) last.content.push(...message.content)
    else turns.push({ ...message, content: [...message.content] })
  }
  return turns
}

function toChatMessages({ role, content }: Message): ChatMessage[] {
  if (role === 'system') return toSystem(content.filter((each) => each.type === 'text'))
  return role === 'assistant' ? [toAnswer(content)] : toQuestion(content)
}

function toAnswer(content: readonly Block[]): ChatMessage {
  const thoughts = content.filter((each) => each.type === 'thinking')
  // An answer that cites is cut into blocks between words.
  const text = content.flatMap((each) => (each.type === 'text' ? each.text : [])).join('')
  const calls = content.filter((each) => each.type === 'tool_use')
  return {
    role: 'assistant',
    content: text === '' && calls.length > 0 ? null : text,
    ...(thoughts.length > 0 ? toReasoningFields(thoughts) : {}),
    ...(calls.length > 0 ? { tool_calls: calls.map(toToolCall) } : {}),
  }
}

/** A signature proves one thought, to the vendor who made it. */
function toReasoningFields(thoughts: readonly BlockOf<'thinking'>[]): ChatMessage {
  const [only, ...others] = thoughts
  return {
    reasoning_content: thoughts.map((each) => each.thinking).join(gap),
    reasoning_signature: others.length === 0 ? only?.signature || undefined : undefined,
  }
}

function toToolCall({ id, name, input }: BlockOf<'tool_use'>): ChatMessage {
  return { id, type: 'function', function: { name, arguments: JSON.stringify(input ?? {}) } }
}

/** Results come right after the calls that they answer, each as a message of its own; what else the turn says follows. */
function toQuestion(content: readonly Block[]): ChatMessage[] {
  const results = content.filter((each) => each.type === 'tool_result')
  const shown = [
    // Tools answer in text: what they have to show is shown by the user.
    ...results.flatMap((each) => (each.content ?? []).filter((inner) => !isText(inner))),
    ...content.filter((each) => isShown(each)),
  ]
  const parts = shown.flatMap(toParts)
  return [
    ...results.map(toToolMessage),
    ...(parts.length > 0 || results.length === 0
      ? [{ role: 'user', content: joinTexts(parts) }]
      : []),
  ]
}

function toToolMessage(result: BlockOf<'tool_result'>): ChatMessage {
  const texts = (result.content ?? []).filter(isText).flatMap(toParts)
  const text = texts.map((part) => part['text']).join(gap)
  const content = result.is_error === true ? `Error: ${text}` : text
  return { role: 'tool', tool_call_id: result.tool_use_id, content }
}

function isShown(block: Block): block is ShownBlock {
  return ['text', 'image', 'document', 'search_result'].includes(block.type)
}

function isText(block: ShownBlock): boolean {
  return toParts(block).every((part) => part.type === 'text')
}

function toParts(block: ShownBlock): ChatPart[] {
  switch (block.type) {
    case 'text':
      return [textPart(block.text)]
    case 'image': {
      const { media_type: mediaType, data } = block.source
      return [{ type: 'image_url', image_url: { url: `data:${mediaType};base64,${data}` } }]
    }
    case 'search_result': {
      const texts = block.content.map((each) => each.text)
      return [textPart([block.title, block.source, ...texts].join(gap))]
    }
    case 'document':
      return [
        ...[block.title, block.context].filter((each) => typeof each === 'string').map(textPart),
        ...toDocumentParts(block),
      ]
  }
}

function toDocumentParts({ source, title }: Extract<ShownBlock, { type: 'document' }>): ChatPart[] {
  if (source.type === 'content') return source.content.flatMap(toParts)
  if (source.type === 'text') return [textPart(source.data)]
  if (source.media_type === 'text/plain') {
    return [textPart(Buffer.from(source.data, 'base64').toString('utf8'))]
  }
  const data = `data:${source.media_type};base64,${source.data}`
  return [{ type: 'file', file: { filename: title ?? 'document.pdf', file_data: data } }]
}

function textPart(text: string): ChatPart {
  return { type: 'text', text }
}

/** Templates of models without eyes know texts only. */
function joinTexts(parts: readonly ChatPart[]): string | readonly ChatPart[] {
  if (parts.some((part) => part.type !== 'text')) return parts
  return parts.map((part) => part['text']).join(gap)
}

function toChatTool(tool: NonNullable<CountRequest['tools']>[number]): ChatMessage {
  const { name, description, input_schema: parameters, strict } = tool
  return { type: 'function', function: { name, description, parameters, strict } }
}

const choices = { auto: 'auto', any: 'required', none: 'none' } as const

function toToolChoice(choice: CountRequest['tool_choice']): ChatMessage {
  if (!choice) return {}
  return {
    tool_choice:
      choice.type === 'tool'
        ? { type: 'function', function: { name: choice.name } }
        : choices[choice.type],
    parallel_tool_calls:
      'disable_parallel_tool_use' in choice && choice.disable_parallel_tool_use === true
        ? false
        : undefined,
  }
}

function toResponseFormat(request: CountRequest): ChatMessage | undefined {
  const format = request.output_config?.format ?? request.output_format
  if (!format) return undefined
  const schema = { name: 'output', schema: format.schema, strict: true }
  return { type: 'json_schema', json_schema: schema }
}

/**
 * Whether to think is a variable of open models' templates, under one of two names; how much is `reasoning_effort`. A request that says nothing leaves
 * both to the model, and so does adaptive thinking.
 */
function toReasoning({ thinking, output_config: config }: CountRequest): ChatMessage {
  const isOn = thinking?.type === 'enabled'
  const isDecided = isOn || thinking?.type === 'disabled'
  const effort = config?.effort ?? (isOn ? effortOf(thinking.budget_tokens) : undefined)
  return {
    ...(isDecided ? { chat_template_kwargs: { enable_thinking: isOn, thinking: isOn } } : {}),
    // Not every engine knows more than three.
    ...(effort && thinking?.type !== 'disabled'
      ? { reasoning_effort: effort === 'xhigh' || effort === 'max' ? 'high' : effort }
      : {}),
  }
}

function effortOf(budgetTokens: number): 'low' | 'medium' | 'high' {
  if (budgetTokens <= lowBudgetTokens) return 'low'
  return budgetTokens <= mediumBudgetTokens ? 'medium' : 'high'
}
