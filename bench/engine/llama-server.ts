/**
 * The engine that ours is measured against: llama.cpp's own server, built once from the source package of llama-cpp-python, which holds all
 * of llama.cpp. Needs pip, cmake, ninja and a C++ compiler; takes about six minutes on two cores.
 */
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

const version = '0.3.36'

/** Returns the path of the program, and builds it where it is missing. */
export function llamaServer(): string {
  const cache = process.env['COLONNADE_CACHE'] ?? join(homedir(), '.cache', 'colonnade')
  const program = join(cache, `llama-server-${version}`)
  if (!existsSync(program)) build(join(cache, `llama-server-${version}-build`), program)
  return program
}

function build(folder: string, program: string): void {
  mkdirSync(folder, { recursive: true })
  process.stderr.write(`Building llama-server in ${folder} …\n`)
  const source = join(folder, `llama_cpp_python-${version}`, 'vendor', 'llama.cpp')
  const options = [
    'CMAKE_BUILD_TYPE=Release',
    'LLAMA_CURL=OFF',
    'LLAMA_OPENSSL=OFF',
    'LLAMA_BUILD_TESTS=OFF',
    'BUILD_SHARED_LIBS=OFF',
  ].map((option) => `-D${option}`)
  run('pip', folder, [
    'download',
    '--quiet',
    '--no-binary=:all:',
    '--no-deps',
    `llama-cpp-python==${version}`,
  ])
  run('tar', folder, ['xzf', `llama_cpp_python-${version}.tar.gz`])
  run('cmake', source, ['-B', 'build', '-G', 'Ninja', ...options])
  run('ninja', source, ['-C', 'build', 'llama-server'])
  copyFileSync(join(source, 'build', 'bin', 'llama-server'), program)
  rmSync(folder, { recursive: true })
}

function run(command: string, cwd: string, args: readonly string[]): void {
  const { status } = spawnSync(command, args, { cwd, stdio: ['ignore', 'ignore', 'inherit'] })
  if (status !== 0) throw new Error(`${command} failed in ${cwd}`)
}
