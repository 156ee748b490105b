/** An engine that runs, before Colonnade knows it. Types only. */
import type { OfferedTask } from '../engine.ts'

export interface StartedModel {
  readonly task: OfferedTask
  readonly engineModel: string
  readonly baseUrl: string
  readonly processId: number
}

export interface StartedEngine {
  readonly kind: string
  readonly name: string
  readonly version: string
  readonly models: readonly StartedModel[]
  stop(): Promise<void>
}
