/** Any server that speaks OpenAI's dialect: vLLM, SGLang, llama-server, Ollama, TGI and their relatives. */
import type { EngineAdapter } from '../engine.ts'
import { connectOpenAiEngine } from '../protocol/openai.ts'

export const openAiCompatible: EngineAdapter = {
  kind: 'openai-compatible',
  connect: (address) =>
    connectOpenAiEngine(address, {
      kind: 'openai-compatible',
      // Strict servers refuse options that they do not know, so running totals are not asked for.
      capabilities: { chat: true, embeddings: true, continuousUsage: false },
      relaysErrorTexts: false,
    }),
}
