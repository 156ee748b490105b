/** What runs and what was wanted last, on disk: the next agent finds the engines of this one, and can start without control. */
import { readFile, rename, writeFile } from 'node:fs/promises'
import { z } from 'zod'
import { desiredState } from './protocol.ts'

const runningEngine = z.object({
  modelId: z.string(),
  fingerprint: z.string(),
  engineKind: z.string(),
  leasePath: z.string(),
  pid: z.int().positive(),
  startTime: z.string(),
  baseUrl: z.string(),
  weightSha256: z.string().nullable(),
  contextWindowTokens: z.int().positive().nullable(),
  embeddings: z.boolean(),
})
export type RunningEngine = z.infer<typeof runningEngine>

const agentState = z.object({
  version: z.literal(1),
  /** `null` until control has answered once. */
  deployments: desiredState.shape.deployments.nullable(),
  engines: z.array(runningEngine).max(1_000),
})
export type AgentState = z.infer<typeof agentState>

/** A file that is missing or broken is an empty one: the engines that it named end by their leases. */
export async function readState(path: string): Promise<AgentState> {
  try {
    return agentState.parse(JSON.parse(await readFile(path, 'utf8')))
  } catch {
    // Nothing that we know of is running.
    return { version: 1, deployments: null, engines: [] }
  }
}

export async function writeState(path: string, state: AgentState): Promise<void> {
  const partial = `${path}.partial`
  await writeFile(partial, JSON.stringify(state, undefined, 2), { mode: 0o600 })
  await rename(partial, path)
}
