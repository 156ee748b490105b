/** OpenAI's moderations as spoken to engines (platform.openai.com/docs/api-reference/moderations). */
import type { ModerationResult, ModerationTask, StreamPart } from '../../engine.ts'
import { collect, invalid, isRecord, parseWhole } from '../answer.ts'
import type { TaskDialect } from '../connection.ts'
import { fromWireUsage } from './usage.ts'

const categoriesMax = 100
const categoryCharactersMax = 100

export const openAiModeration: TaskDialect<ModerationTask> = {
  path: '/v1/moderations',
  render: ({ task, model }) => ({ json: { model, input: task.input } }),
  read: (answer, { task }) => readModerations(answer.body, task.input.length),
}

async function* readModerations(
  chunks: AsyncIterable<Buffer>,
  count: number,
): AsyncGenerator<StreamPart> {
  const value = parseWhole(await collect(chunks))
  const results = isRecord(value) ? value['results'] : undefined
  if (!isRecord(value) || !Array.isArray(results) || results.length !== count) {
    throw invalid('a moderation answer with the wrong number of results')
  }
  yield { type: 'moderations', results: results.map(toResult) }
  if (isRecord(value['usage'])) yield { type: 'usage', usage: fromWireUsage(value['usage']) }
  yield { type: 'end' }
}

function toResult(wire: unknown): ModerationResult {
  if (!isRecord(wire) || typeof wire['flagged'] !== 'boolean') {
    throw invalid('a moderation result without a verdict')
  }
  return {
    flagged: wire['flagged'],
    categories: pick(wire['categories'], (value) => typeof value === 'boolean'),
    scores: pick(
      wire['category_scores'],
      (value) => typeof value === 'number' && value >= 0 && value <= 1,
    ),
  }
}

/** OpenAI itself gives `null` for a category that a model does not know. */
function pick<Value>(
  value: unknown,
  isWanted: (item: unknown) => boolean,
): Readonly<Record<string, Value>> {
  const entries = isRecord(value) ? Object.entries(value) : []
  const wanted = entries.filter(
    ([name, item]) => name.length <= categoryCharactersMax && isWanted(item),
  )
  // The predicate is the type.
  return Object.fromEntries(wanted.slice(0, categoriesMax)) as Record<string, Value>
}
