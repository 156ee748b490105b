/** What makes one document more relevant than another, and how that reads between 0 and 1. Pure. */
import { assert } from '../../../platform/assert.ts'

/** By what the order was found: a model that reads query and document together, or the angle between their vectors. */
export type RerankMethod = 'model' | 'cosine'

export interface Judgement {
  /** The document's place in the request. */
  readonly index: number
  /** From 0 to 1. */
  readonly relevance: number
  /** As the method computes it; it gives the order. A logit, or a cosine. */
  readonly raw: number
}

/** 1 - 2⁻²⁰: what a probability of 1 is taken for, so that its logit has an end. */
const certainty = 1 - 2 ** -20

export function fromScores(
  scores: readonly number[],
  scale: 'probability' | 'logit',
): readonly Judgement[] {
  return scores.map((score, index) =>
    scale === 'logit'
      ? { index, relevance: logistic(score), raw: score }
      : { index, relevance: clamp(score), raw: toLogit(score) },
  )
}

/** The first vector is the query's, the others are the documents'. */
export function fromVectors(vectors: readonly (readonly number[])[]): readonly Judgement[] {
  const [query, ...documents] = vectors
  assert(query, 'the query has a vector')
  return documents.map((document, index) => {
    const raw = cosine(query, document)
    return { index, relevance: clamp(raw), raw }
  })
}

/** Best first; equal ones as they came. Scores that differ only beyond what `raw` can tell keep their order by relevance. */
export function rank(
  judgements: readonly Judgement[],
  topN = judgements.length,
): readonly Judgement[] {
  return judgements
    .toSorted((a, b) => b.raw - a.raw || b.relevance - a.relevance || a.index - b.index)
    .slice(0, topN)
}

function logistic(logit: number): number {
  return 1 / (1 + Math.exp(-logit))
}

function toLogit(probability: number): number {
  const bounded = Math.min(Math.max(probability, 1 - certainty), certainty)
  return Math.log(bounded / (1 - bounded))
}

function clamp(value: number): number {
  return Math.min(1, Math.max(0, value))
}

/** 0 for a vector without a direction. */
function cosine(a: readonly number[], b: readonly number[]): number {
  let product = 0
  let squareA = 0
  let squareB = 0
  for (const [index, value] of a.entries()) {
    const other = b[index] ?? 0
    product += value * other
    squareA += value * value
    squareB += other * other
  }
  const lengths = Math.sqrt(squareA) * Math.sqrt(squareB)
  return lengths === 0 ? 0 : product / lengths
}
