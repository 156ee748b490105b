/**
 * Jina's reranking, as vLLM, SGLang, llama-server, Infinity and many others speak it (api.jina.ai/redoc, docs.vllm.ai "Re-rank API",
 * llama.cpp tools/server/README.md "POST /reranking").
 */
import type { RerankTask, StreamPart } from '../../engine.ts'
import { collect, invalid, isRecord, parseWhole, toNumber } from '../answer.ts'
import type { TaskDialect } from '../connection.ts'
import { readScores, scaleOf } from './scores.ts'

export const jinaRerank: TaskDialect<RerankTask> = {
  path: '/v1/rerank',
  render: ({ task, model }) => ({ json: toBody(task, model) }),
  read: (answer, { task }) => readJina(answer.body, task.documents.length),
}

/** vLLM cuts what is longer than the model's window only when asked to (`-1`); elsewhere the field is unknown. */
export const vllmRerank: TaskDialect<RerankTask> = {
  ...jinaRerank,
  render: ({ task, model }) => ({
    json: {
      ...toBody(task, model),
      ...(task.truncate && { truncate_prompt_tokens: -1 }),
    },
  }),
}

function toBody(task: RerankTask, model: string): Record<string, unknown> {
  const { query, documents } = task
  // Some servers answer fewer, or with the texts, unless told otherwise.
  return { model, query, documents, top_n: documents.length, return_documents: false }
}

async function* readJina(chunks: AsyncIterable<Buffer>, count: number): AsyncGenerator<StreamPart> {
  const value = parseWhole(await collect(chunks))
  if (!isRecord(value)) throw invalid('a reranking answer that is no object')
  const scores = readScores(value['results'], { count, field: 'relevance_score' })
  yield { type: 'scores', scores, scale: scaleOf(scores) }
  if (isRecord(value['usage'])) {
    const { prompt_tokens: prompt, total_tokens: total } = value['usage']
    yield {
      type: 'usage',
      usage: {
        inputTokens: toNumber(prompt, toNumber(total, NaN)),
        cachedInputTokens: 0,
        outputTokens: 0,
        reasoningTokens: 0,
      },
    }
  }
  yield { type: 'end' }
}
