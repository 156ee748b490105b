/** Any server that speaks OpenAI's dialect: vLLM, SGLang, llama-server, Ollama, TGI and their relatives. */
import type { EngineAdapter } from '../engine.ts'
import { connectOpenAiEngine } from '../protocol/openai.ts'

export const openAiCompatible: EngineAdapter = {
  kind: 'openai-compatible',
  connect: (address) =>
    connectOpenAiEngine(address, {
      kind: 'openai-compatible',
      // Strict servers refuse options that they do not know, so neither running totals nor salts are sent.
      capabilities: { chat: true, embeddings: true, continuousUsage: false, cacheSalt: false },
      relaysErrorTexts: false,
    }),
}
