import { expect, test } from 'vitest'
import { planStep } from './step.ts'

const answer = { pending: Uint32Array.of(1), generatedTokens: 3 }
const prompt = (tokens: number) => ({ pending: new Uint32Array(tokens), generatedTokens: 0 })
const sizes = (plan: ReturnType<typeof planStep>) => plan.parts.map((part) => part.tokens)

test('without prompts every answer gets its token, however many there are', () => {
  expect(
    sizes(
      planStep(
        Array.from({ length: 20 }, () => answer),
        16,
        0,
      ),
    ),
  ).toHaveLength(20)
})

test('prompts fill a step in the order of their arrival', () => {
  expect(sizes(planStep([prompt(10), prompt(10), prompt(10)], 16, 0))).toEqual([10, 6])
})

test('answers wait until their share of the steps has paid for all of them', () => {
  const running = [answer, answer, answer, answer, answer, answer, prompt(1_000)]
  const first = planStep(running, 15, 0)
  expect(sizes(first)).toEqual([15])
  const second = planStep(running, 15, first.credit)
  expect(sizes(second)).toEqual([1, 1, 1, 1, 1, 1, 9])
  expect(second.credit).toBe(0)
})

test('a step is never empty', () => {
  const many = Array.from({ length: 40 }, () => answer)
  let credit = 0
  for (let step = 0; step < 50; step += 1) {
    const plan = planStep([...many, prompt(5)], 16, credit)
    expect(plan.parts.length).toBeGreaterThan(0)
    credit = plan.credit
  }
})
