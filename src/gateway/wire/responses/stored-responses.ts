/** What clients ask of kept responses (platform.openai.com/docs/api-reference/responses), and what they are told. */
import { z } from 'zod'
import { Fault } from '../../../platform/fault.ts'
import { invalidField } from '../openai/chat-request.ts'
import { toItems, type KeptResponse } from './kept-response.ts'
import type { WireItem } from './output-item.ts'

const itemsMax = 100
const itemsDefault = 20

/** What `include` could add is there anyway. */
export const inputItemsQuery = z.object({
  after: z.string().max(200).optional(),
  limit: z.coerce.number().int().min(1).max(itemsMax).default(itemsDefault),
  order: z.enum(['asc', 'desc']).default('desc'),
})
export type InputItemsPage = z.infer<typeof inputItemsQuery>

export function parseInputItemsQuery(query: URLSearchParams): InputItemsPage {
  const parsed = inputItemsQuery.safeParse(Object.fromEntries(query))
  if (!parsed.success) throw invalidField(parsed.error)
  return parsed.data
}

/** All that the model was given beside the instructions: the input of the last response, and before it what that one goes on from. */
export function pageOfInput(
  conversation: readonly KeptResponse[],
  { after, limit, order }: InputItemsPage,
): {
  readonly items: readonly (WireItem & { readonly id?: unknown })[]
  readonly hasMore: boolean
} {
  const earlier = toItems(conversation.slice(0, -1))
  const items = [...earlier, ...(conversation.at(-1)?.input ?? [])]
  const ordered = order === 'asc' ? items : items.toReversed()
  const start = after === undefined ? 0 : ordered.findIndex(({ id }) => id === after) + 1
  if (after !== undefined && start === 0) throw noSuchItem()
  return {
    items: ordered.slice(start, start + limit),
    hasMore: ordered.length > start + limit,
  }
}

/** A kept response is whole; its events are not kept. */
export function refuseReplay(query: URLSearchParams): void {
  if (query.get('stream') !== 'true') return
  throw new Fault({
    code: 'client.unsupported_value',
    public: "The events of a response are not kept. Leave 'stream' out to get it whole.",
    param: 'stream',
  })
}

export function responseNotFound(): Fault {
  return new Fault({
    code: 'client.not_found',
    public: 'There is no such response in this project.',
    param: 'response_id',
  })
}

export function conversationTooLong(): Fault {
  return new Fault({
    code: 'client.context_length_exceeded',
    public: 'The conversation of this response is longer than what can be put together here.',
    param: 'response_id',
  })
}

function noSuchItem(): Fault {
  return new Fault({
    code: 'client.invalid_request',
    public: 'The input of this response has no such item.',
    param: 'after',
  })
}
