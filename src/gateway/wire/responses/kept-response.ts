/** A response as it is kept: the object that its client got, and the items of its input, each with an id, as OpenAI lists them. */
import type { StoredResponse } from '../../../responses/response.ts'
import { parseItem, type InputItem, type InputPart } from './input-item.ts'
import type { WireItem } from './output-item.ts'
import type { WireResponse } from './response-object.ts'

export interface KeptResponse {
  readonly response: WireResponse
  readonly input: readonly WireItem[]
}

export function toKeptBytes(kept: KeptResponse): Buffer {
  return Buffer.from(JSON.stringify(kept))
}

export function readKept({ content }: Pick<StoredResponse, 'content'>): KeptResponse {
  // Written by `toKeptBytes`.
  return JSON.parse(content.toString('utf8')) as KeptResponse
}

const prefixes: Readonly<Record<InputItem['type'], string>> = {
  message: 'msg',
  reasoning: 'rs',
  function_call: 'fc',
  function_call_output: 'fco',
  custom_tool_call: 'ctc',
  custom_tool_call_output: 'ctco',
}

export function toKeptInput(
  input: string | readonly InputItem[],
  responseId: string,
): readonly WireItem[] {
  const items: readonly InputItem[] =
    typeof input === 'string' ? [{ type: 'message', role: 'user', content: input }] : input
  const suffix = responseId.replace(/^resp_/, '')
  return items.map((item, index) => ({
    id: `${prefixes[item.type]}_${suffix}in${index}`,
    status: 'completed',
    ...toKeptItem(item),
  }))
}

function toKeptItem(item: InputItem): WireItem {
  switch (item.type) {
    case 'message': {
      const textType = item.role === 'assistant' ? 'output_text' : 'input_text'
      return { ...item, content: toKeptParts(item.content, textType) }
    }
    case 'function_call_output':
    case 'custom_tool_call_output': {
      const { output } = item
      return {
        ...item,
        output: typeof output === 'string' ? output : toKeptParts(output, 'input_text'),
      }
    }
    case 'reasoning':
      return { ...item, summary: item.summary ?? [] }
    default:
      return item
  }
}

function toKeptParts(
  content: string | readonly InputPart[],
  textType: 'input_text' | 'output_text',
): readonly WireItem[] {
  const parts: readonly InputPart[] =
    typeof content === 'string' ? [{ type: textType, text: content }] : content
  return parts.map((part) => {
    if (part.type === 'input_image') return { ...part, detail: part.detail ?? 'auto' }
    if (!('text' in part)) return part
    const text = { type: textType, text: part.text }
    return textType === 'input_text' ? text : { ...text, annotations: [], logprobs: [] }
  })
}

/** All that was said, in its order: what each response was asked, then what it answered. */
export function toItems(responses: readonly KeptResponse[]): readonly WireItem[] {
  return responses.flatMap(({ input, response }) => [...input, ...response.output])
}

/** The same as if the client sent it. */
export function toConversationItems(stored: readonly StoredResponse[]): readonly InputItem[] {
  return toItems(stored.map(readKept)).map((item, index) => parseItem(item, index))
}
