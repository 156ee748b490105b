/** What all rerankers' answers have in common: a list of indexes and scores, in any order. */
import type { StreamPart } from '../../engine.ts'
import { invalid, isRecord } from '../answer.ts'

type ScoresPart = Extract<StreamPart, { type: 'scores' }>

/** One score a document, in the documents' order. `field` is where an entry has its score. */
export function readScores(
  entries: unknown,
  { count, field }: { readonly count: number; readonly field: string },
): readonly number[] {
  if (!Array.isArray(entries) || entries.length !== count) {
    throw invalid('a reranking answer with the wrong number of results')
  }
  const scores = Array.from({ length: count }, () => NaN)
  for (const entry of entries) {
    const index: unknown = isRecord(entry) ? entry['index'] : undefined
    const score: unknown = isRecord(entry) ? entry[field] : undefined
    if (typeof index !== 'number' || !(index in scores)) throw invalid('a result without its index')
    if (typeof score !== 'number' || !Number.isFinite(score)) {
      throw invalid('a result whose score is no number')
    }
    scores[index] = score
  }
  if (scores.some(Number.isNaN)) throw invalid('a document without a score')
  return scores
}

/**
 * Servers that leave the scale to the model: llama-server gives a classifier's logits as they are, but probabilities for models that end in a
 * softmax (github.com/withcatai/node-llama-cpp/issues/617). A score below 0 or above 1 can only be a logit.
 */
export function scaleOf(scores: readonly number[]): ScoresPart['scale'] {
  return scores.every((score) => score >= 0 && score <= 1) ? 'probability' : 'logit'
}
