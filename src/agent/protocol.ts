/** What agent and control say to each other, over the control API with a join token. */
import { z } from 'zod'

export const replicaStates = [
  'pending',
  'pulling',
  'starting',
  'ready',
  'failed',
  'stopped',
] as const

/** `GET /api/v1/agent/desired?node=NAME`: what this node shall run. */
export const desiredState = z.object({
  nodeId: z.string(),
  deployments: z.array(
    z.object({
      modelId: z.string(),
      /** Tried in order: `file:`, `https:`, `hf:`, `pypi:`. */
      weightSources: z.array(z.string()),
      weightSha256: z.string().nullable(),
      weightBytes: z.number().nullable(),
      embeddings: z.boolean(),
      contextWindowTokens: z.number().nullable(),
      settings: z.record(z.string(), z.unknown()),
    }),
  ),
})
export type DesiredState = z.infer<typeof desiredState>

/** `POST /api/v1/agent/report`: what really runs, every few seconds and at each change. */
export const agentReport = z.object({
  nodeName: z.string().min(1).max(200),
  hardware: z.record(z.string(), z.unknown()),
  replicas: z
    .array(
      z.object({
        modelId: z.string(),
        state: z.enum(replicaStates),
        engineKind: z.string(),
        engineModel: z.string(),
        baseUrl: z.string().nullable(),
        detail: z.string().max(500).nullable(),
        progress: z.number().min(0).max(1).nullable(),
        /** Known once the weights are verified. */
        weightSha256: z.string().nullable(),
        contextWindowTokens: z.number().nullable(),
        /** Whether the model only embeds; known once its weights were read. */
        embeddings: z.boolean().nullable(),
      }),
    )
    .max(1000),
})
export type AgentReport = z.infer<typeof agentReport>
