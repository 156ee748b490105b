/** The one list of engine adapters. */
import { llamaCpp } from './adapters/llama-cpp.ts'
import { openAiCompatible } from './adapters/openai-compatible.ts'
import type { EngineAdapter } from './engine.ts'

export const engineAdapters: readonly EngineAdapter[] = [llamaCpp, openAiCompatible]

/** The adapter of a kind; `undefined` for a kind that this version does not know. */
export function findAdapter(kind: string): EngineAdapter | undefined {
  return engineAdapters.find((adapter) => adapter.kind === kind)
}
