/** Engines that run on this machine already, found where each kind usually listens: they are offered, never connected without a word. */
import { detectEngine, type DetectedEngine } from '../engines/detect.ts'

export interface LocalEngine extends DetectedEngine {
  readonly url: string
}

/** Ollama; llama-server, TGI and TEI; vLLM and servers of Whisper; SGLang. */
export const usualAddresses: readonly string[] = [11434, 8080, 8000, 30000].map(
  (port) => `http://127.0.0.1:${port}`,
)

/** The engines that answer and are not connected yet, within a second or two. Nobody is asked to do anything. */
export async function findLocalEngines(
  addresses: readonly string[],
  connected: readonly (string | null)[],
  signal: AbortSignal,
): Promise<readonly LocalEngine[]> {
  const free = addresses.filter((url) => !connected.includes(url))
  const looked = free.map(async (url) => ({
    url,
    found: await detectEngine({ baseUrl: url }, signal),
  }))
  const answers = await Promise.all(looked)
  return answers.flatMap(({ url, found }) => (found ? [{ url, ...found }] : []))
}

/** Where to look, as the configuration has it: at the usual addresses, at those that it names, or nowhere. */
export function addressesToLookAt(discovery: boolean | readonly string[]): readonly string[] {
  if (discovery === true) return usualAddresses
  if (discovery === false) return []
  return discovery.map((address) => new URL(address).origin)
}
