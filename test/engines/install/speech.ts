/**
 * Speech to be transcribed, spoken by espeak-ng: the system's where it is installed, else Debian's packages unpacked into the cache. apt checks what it
 * downloads; nothing is installed on the system.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { ensureBuilt, findProgram, needPrograms, runProgram, type Say } from './cache.ts'

const packages = [
  'espeak-ng',
  'espeak-ng-data',
  'libespeak-ng1',
  'libpcaudio0',
  'libsonic0',
  'libasound2',
  'libasound2-data',
  'libpulse0',
]

export interface Speaker {
  /** Writes the spoken text as a WAV file. */
  speak(text: string, path: string): Promise<void>
}

export async function installSpeaker(say: Say): Promise<Speaker> {
  const installed = findProgram('espeak-ng')
  if (installed !== undefined) return toSpeaker(installed, {})
  const folder = await ensureBuilt('espeak-ng', say, unpack)
  const root = join(folder, 'root')
  const architecture = readdirSync(join(root, 'usr', 'lib')).find((name) =>
    name.includes('-linux-'),
  )
  const libraries = join(root, 'usr', 'lib', architecture ?? '')
  return toSpeaker(join(root, 'usr', 'bin', 'espeak-ng'), {
    LD_LIBRARY_PATH: `${libraries}:${join(libraries, 'pulseaudio')}`,
    ESPEAK_DATA_PATH: join(libraries, 'espeak-ng-data'),
  })
}

function toSpeaker(program: string, environment: Readonly<Record<string, string>>): Speaker {
  return {
    async speak(text, path) {
      await runProgram(program, ['-s', '140', '-w', path, text], { cwd: '/', environment })
    },
  }
}

async function unpack(folder: string): Promise<void> {
  needPrograms('Speech for the Whisper server', { 'apt-get': 'or install espeak-ng', dpkg: 'dpkg' })
  await runProgram('apt-get', ['download', ...packages], { cwd: folder })
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.deb'))) {
    await runProgram('dpkg', ['-x', file, 'root'], { cwd: folder })
  }
}
