/**
 * The model's own chat template (Jinja, from the GGUF), and what is done about the things that a template cannot say. What it can say is
 * found by trying it once at start, not by knowing models.
 */
import { Template } from '@huggingface/jinja'
import { Fault } from '../../platform/fault.ts'
import { knowsThinking } from './reasoning-reader.ts'

export interface TemplateMessage {
  readonly role: string
  readonly content: string
  readonly name?: string | undefined
  readonly reasoning_content?: string | undefined
  readonly tool_call_id?: string | undefined
  readonly tool_calls?: readonly TemplateToolCall[] | undefined
}
export interface TemplateToolCall {
  readonly id: string
  readonly type: 'function'
  /** Templates expect the arguments as an object, unlike OpenAI's wire. */
  readonly function: { readonly name: string; readonly arguments: unknown }
}

export interface ChatTemplate {
  /** Texts that end a turn though they are no tokens of this model. */
  readonly stops: readonly string[]
  /** Whether the template shows tools to the model, and past calls and their results. */
  readonly knowsTools: boolean
  /** Whether it was written for models that think between marks before they answer. */
  readonly knowsThinking: boolean
  /** Throws `client.unsupported_value` when the template refuses the conversation. */
  render(
    messages: readonly TemplateMessage[],
    tools: readonly unknown[] | undefined,
    variables?: Readonly<Record<string, unknown>>,
  ): string
}

/** For models that bring no template: the form that most were trained on. */
const chatMl =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"

const chatMlEnd = '<|im_end|>'

const probe = 'colonnade-probe'

export function createChatTemplate(
  source: string | undefined,
  special: { readonly bosText: string; readonly eosText: string },
): ChatTemplate {
  const text = source ?? chatMl
  const template = new Template(text)
  const renderRaw = (
    messages: readonly TemplateMessage[],
    tools?: readonly unknown[],
    variables: Readonly<Record<string, unknown>> = {},
  ): string =>
    template.render({
      enable_thinking: true,
      ...variables,
      messages: messages.map(withoutAbsent),
      ...(tools ? { tools } : {}),
      add_generation_prompt: true,
      bos_token: special.bosText,
      eos_token: special.eosText,
    })
  const canSay = (messages: readonly TemplateMessage[], tools?: readonly unknown[]): boolean => {
    try {
      return renderRaw(messages, tools).includes(probe)
    } catch {
      return false
    }
  }
  const user: TemplateMessage = { role: 'user', content: 'a' }
  const knowsSystem = canSay([{ role: 'system', content: probe }, user])
  const knowsLateSystem = canSay([user, { role: 'system', content: probe }, user])
  const knowsDeveloper = text.includes('developer')
  const knowsTools = canSay([user], [probeTool])
  const hasPersona = knowsSystem && insertsText(renderRaw, user)

  const adapt = (messages: readonly TemplateMessage[]): readonly TemplateMessage[] => {
    let adapted = messages
    if (!knowsDeveloper) {
      adapted = adapted.map((message) =>
        message.role === 'developer' ? { ...message, role: 'system' } : message,
      )
    }
    const late = adapted.slice(1).some((message) => message.role === 'system')
    if (!knowsSystem || (late && !knowsLateSystem)) adapted = gatherSystem(adapted)
    if (!knowsSystem) return systemIntoUser(adapted)
    return hasPersona && adapted[0]?.role !== 'system' ? [silence, ...adapted] : adapted
  }

  return {
    stops: source === undefined ? [chatMlEnd] : [],
    knowsTools,
    knowsThinking: knowsThinking(text),
    render(messages, tools, variables) {
      const adapted = adapt(messages)
      try {
        return renderRaw(adapted, tools, variables)
      } catch {
        // Some templates insist on turns that alternate.
        try {
          return renderRaw(mergeNeighbours(adapted), tools, variables)
        } catch (cause) {
          throw new Fault({
            code: 'client.unsupported_value',
            public: "The model's chat template does not accept this order of messages.",
            internal: 'the chat template refused the conversation',
            param: 'messages',
            cause,
          })
        }
      }
    },
  }
}

/**
 * Some templates speak for the caller: a conversation without a system message gets one that names the model's maker. The caller neither
 * wrote it nor wants to pay for its tokens, and small models answer worse with it; an empty one keeps it out.
 */
const silence: TemplateMessage = { role: 'system', content: '' }

function insertsText(
  render: (messages: readonly TemplateMessage[]) => string,
  user: TemplateMessage,
): boolean {
  try {
    return render([user]).length > render([silence, user]).length
  } catch {
    // A template that refuses an empty system message is left as it is.
    return false
  }
}

const probeTool = {
  type: 'function',
  function: { name: probe, description: probe, parameters: { type: 'object', properties: {} } },
}

/** Templates ask `is defined`, and an undefined property is defined in their eyes. */
function withoutAbsent(message: TemplateMessage): Record<string, unknown> {
  return Object.fromEntries(Object.entries(message).filter(([, value]) => value !== undefined))
}

function gatherSystem(messages: readonly TemplateMessage[]): readonly TemplateMessage[] {
  const system = messages.filter((message) => message.role === 'system')
  if (system.length === 0) return messages
  const content = system.map((message) => message.content).join('\n\n')
  return [{ role: 'system', content }, ...messages.filter((message) => message.role !== 'system')]
}

function systemIntoUser(messages: readonly TemplateMessage[]): readonly TemplateMessage[] {
  const [first, second, ...rest] = messages
  if (first?.role !== 'system') return messages
  if (second?.role !== 'user') return [{ ...first, role: 'user' }, ...messages.slice(1)]
  return [{ ...second, content: `${first.content}\n\n${second.content}` }, ...rest]
}

function mergeNeighbours(messages: readonly TemplateMessage[]): readonly TemplateMessage[] {
  const merged: TemplateMessage[] = []
  for (const message of messages) {
    const last = merged.at(-1)
    const isPlain = message.tool_calls === undefined && message.tool_call_id === undefined
    if (last && last.role === message.role && isPlain && last.tool_calls === undefined) {
      merged[merged.length - 1] = { ...last, content: `${last.content}\n\n${message.content}` }
    } else {
      merged.push(message)
    }
  }
  return merged
}
