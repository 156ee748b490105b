/** Installs every engine of the lane, and nothing else: `node bin/colonnade.mjs --script test/engines/install/all.ts`. */
import { installLlamaServer } from './llama-server.ts'
import { installOllama } from './ollama.ts'
import { installSpeaker } from './speech.ts'
import { installWhisper } from './whisper.ts'

const say = (line: string): void => void process.stderr.write(`${line}\n`)

await installSpeaker(say)
await installWhisper(say)
await installLlamaServer(say)
await installOllama(say)
