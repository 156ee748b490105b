/**
 * Hugging Face's Text Embeddings Inference (huggingface.co/docs/text-embeddings-inference, API reference). It serves one model, which embeds
 * or reranks, and takes at most `--max-client-batch-size` texts at once: 32 unless it is told otherwise.
 */
import type { EngineAdapter } from '../engine.ts'
import { connectEngine } from '../protocol/connection.ts'
import { readPublishedLoad } from '../protocol/metrics.ts'
import { teiRerank } from '../protocol/rerank/tei.ts'
import { teiEmbedding } from '../protocol/tei/embedding.ts'
import { listTeiModels, teiHealthPath } from '../protocol/tei/management.ts'

const readLoad = readPublishedLoad({ running: [], waiting: ['te_queue_size'] })

export const tei: EngineAdapter = {
  kind: 'tei',
  connect: (address) =>
    connectEngine(address, {
      kind: 'tei',
      dialects: { embedding: teiEmbedding, rerank: teiRerank },
      continuousUsage: false,
      cacheSalt: false,
      relaysErrorTexts: false,
      listModels: listTeiModels,
      healthPath: teiHealthPath,
      tooLongText: /`inputs` must have less than/,
      readLoad,
    }),
}
