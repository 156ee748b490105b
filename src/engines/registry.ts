/** The one list of engine adapters. */
import { anthropic } from './adapters/anthropic.ts'
import { azureOpenAi } from './adapters/azure-openai.ts'
import { bedrock } from './adapters/bedrock.ts'
import { huggingFace } from './adapters/hugging-face.ts'
import { llamaCpp } from './adapters/llama-cpp.ts'
import { llamaServer } from './adapters/llama-server.ts'
import { ollama } from './adapters/ollama.ts'
import { openAiCompatible } from './adapters/openai-compatible.ts'
import { openAi } from './adapters/openai.ts'
import { sglang } from './adapters/sglang.ts'
import { tei } from './adapters/tei.ts'
import { tgi } from './adapters/tgi.ts'
import { vertex } from './adapters/vertex.ts'
import { vllm } from './adapters/vllm.ts'
import { whisper } from './adapters/whisper.ts'
import type { EngineAdapter } from './engine.ts'

export const engineAdapters: readonly EngineAdapter[] = [
  llamaCpp,
  vllm,
  sglang,
  llamaServer,
  ollama,
  tgi,
  tei,
  whisper,
  openAiCompatible,
  openAi,
  azureOpenAi,
  anthropic,
  vertex,
  bedrock,
  huggingFace,
]

/** The adapter of a kind; `undefined` for a kind that this version does not know. */
export function findAdapter(kind: string): EngineAdapter | undefined {
  return engineAdapters.find((adapter) => adapter.kind === kind)
}
