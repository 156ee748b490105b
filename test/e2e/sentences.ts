/** One question with three sentences that belong to it and three that do not. */
export const related = {
  query: 'How do I train my dog to sit?',
  answers: [
    'Teaching a puppy to sit down on command',
    'Tips for training dogs with treats',
    'A dog learns commands by repetition and reward',
  ],
} as const

export const unrelated = [
  'The central bank raised interest rates again',
  'Quantum computers use superposition of states',
  'The recipe asks for two cups of flour',
] as const

export function cosine(a: readonly number[], b: readonly number[]): number {
  const dot = (x: readonly number[], y: readonly number[]): number =>
    x.reduce((sum, value, index) => sum + value * (y[index] ?? 0), 0)
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))
}
