/** The check that every embedding answer must pass. */
import { invalid } from './answer.ts'

/** As many vectors as there were inputs, all of one length, of numbers only. */
export function readVectors(value: unknown, count: number): readonly (readonly number[])[] {
  if (!Array.isArray(value) || value.length !== count) {
    throw invalid('an embedding answer with the wrong number of vectors')
  }
  const vectors = value.map(toVector)
  if (vectors.some((vector) => vector.length !== vectors[0]?.length)) {
    throw invalid('vectors of different lengths')
  }
  return vectors
}

function toVector(value: unknown): readonly number[] {
  if (!Array.isArray(value) || value.length === 0) throw invalid('a vector that is not a list')
  if (!value.every((number) => Number.isFinite(number))) throw invalid('a vector with non-numbers')
  return value
}
