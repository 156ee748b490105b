/** Ollama, from its Go module. Go modules leave `vendor` folders out, so three headers come from llama.cpp's sources. */
import { join } from 'node:path'
import { ensureBuilt, needPrograms, runProgram, type Say } from './cache.ts'
import { installLlamaServer } from './llama-server.ts'

export const ollamaVersion = '0.17.4'
const moduleSum = 'h1:X3KNm9x4BlHqk/AXMGtC7pBAFd46nmJmy8yDaBZLo9s='

/** Returns the path of the program. */
export async function installOllama(say: Say): Promise<string> {
  const { headers } = await installLlamaServer(say)
  const folder = await ensureBuilt(`ollama-${ollamaVersion}`, say, (into) => build(into, headers))
  return join(folder, 'ollama')
}

async function build(folder: string, headers: string): Promise<void> {
  needPrograms('Ollama', { go: 'golang 1.24 or later', 'c++': 'g++' })
  const module = `github.com/ollama/ollama@v${ollamaVersion}`
  const told = await runProgram('go', ['mod', 'download', '-json', module], { cwd: folder })
  // `go mod download -json` prints one object with these fields.
  const { Dir: source, Sum: sum } = JSON.parse(told) as { Dir: string; Sum: string }
  if (sum !== moduleSum) throw new Error(`${module} has the checksum ${sum}, not ${moduleSum}`)
  await runProgram(
    'go',
    [
      'build',
      '-mod=mod',
      // The module's folder is read-only; what Go would add to its go.mod goes beside the build.
      `-ldflags=-X=github.com/ollama/ollama/version.Version=${ollamaVersion}`,
      '-o',
      join(folder, 'ollama'),
      '.',
    ],
    {
      cwd: source,
      environment: {
        CGO_ENABLED: '1',
        CGO_CXXFLAGS: `-O2 -g0 -I${join(headers, 'vendor')}`,
        GOFLAGS: '-buildvcs=false',
      },
    },
  )
}
