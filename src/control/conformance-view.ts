/** Runs of the suite of checks, as the control API takes and shows them. */
import { z } from 'zod'
import type { RunRecord } from '../conformance/conformance.ts'
import { checkResults, countOf, verdicts, type CheckOutcome } from '../conformance/run.ts'

const checksMax = 200
const factsMax = 20

export const checkOutcome = z.strictObject({
  id: z.string().regex(/^[a-z0-9-]{1,50}\.[a-z0-9-]{1,50}$/, 'such as tools.named'),
  title: z.string().max(200),
  required: z.boolean().describe('Whether the model was held to it.'),
  result: z.enum(checkResults),
  why: z.string().max(500).optional(),
  facts: z
    .record(z.string().max(50), z.number())
    .refine((facts) => Object.keys(facts).length <= factsMax, 'has too many')
    .optional(),
  durationMs: z.number().min(0),
}) satisfies z.ZodType<CheckOutcome>

export const runBody = z.strictObject({
  suiteVersion: z.string().regex(/^[\w.+-]{1,50}$/, 'such as 2026-11-21'),
  programVersion: z.string().regex(/^[\w.+-]{1,50}$/, 'such as 1.2.3'),
  startedAt: z.iso.datetime(),
  finishedAt: z.iso.datetime(),
  checks: z.array(checkOutcome).min(1).max(checksMax),
})

export const runView = runBody.extend({
  modelId: z.string(),
  verdict: z.enum(verdicts),
  passed: z.number(),
  failed: z.number(),
  skipped: z.number(),
  engineKinds: z.array(z.string()).describe('Of the engines that were ready to serve the model.'),
})

export function viewRun(modelId: string, run: RunRecord): z.infer<typeof runView> {
  return {
    modelId,
    suiteVersion: run.suiteVersion,
    programVersion: run.programVersion,
    startedAt: new Date(run.startedAtMs).toISOString(),
    finishedAt: new Date(run.finishedAtMs).toISOString(),
    verdict: run.verdict,
    ...countOf(run.checks),
    engineKinds: [...run.engineKinds],
    checks: [...run.checks],
  }
}
