/**
 * llama.cpp's own server, from the source package of llama-cpp-python, which holds all of llama.cpp. pip compares the download with the checksum below
 * before it unpacks a byte.
 */
import { copyFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ensureBuilt, needPrograms, runProgram, type Say } from './cache.ts'

export const llamaCppVersion = '0.3.36'
const sourceSha256 = '832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e'

export interface LlamaServer {
  readonly program: string
  /** Headers of other projects that llama.cpp brings along. */
  readonly headers: string
}

export async function installLlamaServer(say: Say): Promise<LlamaServer> {
  const folder = await ensureBuilt(`llama-server-${llamaCppVersion}`, say, build)
  return { program: join(folder, 'llama-server'), headers: join(folder, 'headers') }
}

async function build(folder: string): Promise<void> {
  needPrograms('llama-server', {
    pip: 'python3-pip',
    cmake: 'cmake',
    ninja: 'ninja-build',
    'c++': 'g++',
  })
  const requirements = join(folder, 'requirements.txt')
  writeFileSync(
    requirements,
    `llama-cpp-python==${llamaCppVersion} --hash=sha256:${sourceSha256}\n`,
  )
  const cwd = { cwd: folder }
  await runProgram(
    'pip',
    ['download', '--no-binary=:all:', '--no-deps', '--require-hashes', '-r', requirements],
    cwd,
  )
  await runProgram('tar', ['xzf', `llama_cpp_python-${llamaCppVersion}.tar.gz`], cwd)
  const unpacked = join(folder, `llama_cpp_python-${llamaCppVersion}`)
  const source = join(unpacked, 'vendor', 'llama.cpp')
  const options = [
    'CMAKE_BUILD_TYPE=Release',
    'LLAMA_CURL=OFF',
    'LLAMA_OPENSSL=OFF',
    'LLAMA_BUILD_TESTS=OFF',
    'BUILD_SHARED_LIBS=OFF',
  ].map((option) => `-D${option}`)
  await runProgram('cmake', ['-B', 'build', '-G', 'Ninja', ...options], { cwd: source })
  await runProgram('ninja', ['-C', 'build', 'llama-server'], { cwd: source })
  copyFileSync(join(source, 'build', 'bin', 'llama-server'), join(folder, 'llama-server'))
  mkdirSync(join(folder, 'headers'))
  renameSync(join(source, 'vendor'), join(folder, 'headers', 'vendor'))
  rmSync(unpacked, { recursive: true })
  rmSync(join(folder, `llama_cpp_python-${llamaCppVersion}.tar.gz`))
}
