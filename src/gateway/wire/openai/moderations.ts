/** OpenAI's moderations, in and out (platform.openai.com/docs/api-reference/moderations). */
import { z } from 'zod'
import type { ModerationResult } from '../../../engines/engine.ts'
import { Fault } from '../../../platform/fault.ts'
import { invalidField } from './chat-request.ts'

export const moderationInputsMax = 32

/** All of them stand in every answer. */
export const moderationCategories = [
  'harassment',
  'harassment/threatening',
  'hate',
  'hate/threatening',
  'illicit',
  'illicit/violent',
  'self-harm',
  'self-harm/instructions',
  'self-harm/intent',
  'sexual',
  'sexual/minors',
  'violence',
  'violence/graphic',
] as const

export interface ModerationRequest {
  /** `undefined` leaves it to the only model that does it. */
  readonly model: string | undefined
  readonly input: readonly string[]
}

const text = z.string().min(1, 'must not be an empty string')
export const schema = z.object({
  model: z.string().max(200).nullish(),
  input: z.union([
    text,
    z.array(text).min(1).max(moderationInputsMax),
    z
      .array(
        z.discriminatedUnion('type', [
          z.object({ type: z.literal('text'), text }),
          z.object({ type: z.literal('image_url') }),
        ]),
      )
      .min(1)
      .max(moderationInputsMax),
  ]),
})

export function parseModerationRequest(value: unknown): ModerationRequest {
  const parsed = schema.safeParse(value)
  if (!parsed.success) throw inputFault(parsed.error)
  const { model, input } = parsed.data
  return { model: model || undefined, input: toTexts(input) }
}

/** A list of parts is one input. */
function toTexts(input: z.infer<typeof schema>['input']): readonly string[] {
  if (typeof input === 'string') return [input]
  const texts: string[] = []
  const parts: string[] = []
  for (const item of input) {
    if (typeof item === 'string') texts.push(item)
    else if (item.type === 'text') parts.push(item.text)
    else throw noImages()
  }
  return parts.length > 0 ? [parts.join('\n')] : texts
}

function noImages(): Fault {
  return new Fault({
    code: 'catalog.capability_missing',
    public:
      'Images are not moderated here: the moderation models of this platform read text. Send the text parts alone, or show the image to a chat model with vision.',
    param: 'input',
    details: { capability: 'image_moderation' },
  })
}

function inputFault(error: z.ZodError): Fault {
  if (error.issues[0]?.path[0] !== 'input') return invalidField(error)
  return new Fault({
    code: 'client.invalid_request',
    public: `'input' must be a non-empty string, a list of 1 to ${moderationInputsMax} non-empty strings, or a list of content parts.`,
    param: 'input',
  })
}

export function renderModerations(options: {
  readonly id: string
  readonly model: string
  readonly results: readonly ModerationResult[]
}): string {
  return JSON.stringify({
    id: options.id,
    model: options.model,
    results: options.results.map(({ flagged, categories, scores }) => ({
      flagged,
      categories: byCategory((name) => categories[name] ?? false),
      category_scores: byCategory((name) => scores[name] ?? 0),
      category_applied_input_types: byCategory(() => ['text']),
    })),
  })
}

function byCategory<Value>(valueOf: (name: string) => Value): Record<string, Value> {
  return Object.fromEntries(moderationCategories.map((name) => [name, valueOf(name)]))
}
