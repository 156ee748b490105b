/**
 * `npm run test:engines`: every adapter that has a real engine among packages, asked the same through a running Colonnade. Installs what is
 * missing (the first time takes a quarter of an hour or more), prints a table, and writes it into docs/engines.md when every engine was run.
 * `npm run test:engines -- ollama` runs the ones named.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root } from '../e2e/platform.ts'
import { runCheck, spokenText } from './checks/check.ts'
import { checks } from './checks/list.ts'
import { startColonnade, type Colonnade } from './colonnade.ts'
import type { Outcome, RealEngine, Row } from './engine.ts'
import { startLlamaServer } from './engines/llama-server.ts'
import { startOllama } from './engines/ollama.ts'
import type { StartedEngine } from './engines/started.ts'
import { startWhisper } from './engines/whisper.ts'
import { installSpeaker } from './install/speech.ts'
import { placeTable, renderTable } from './table.ts'

const pagePath = join(root, 'docs/engines.md')
const say = (line: string): void => void process.stderr.write(`${line}\n`)

const starters: Readonly<Record<string, (folder: string) => Promise<StartedEngine>>> = {
  'llama-server': () => startLlamaServer(say),
  ollama: (folder) => startOllama(folder, say),
  whisper: (folder) => startWhisper(folder, say),
}
const names = ['embedded', ...Object.keys(starters)]

async function main(wanted: readonly string[]): Promise<void> {
  const unknown = wanted.filter((name) => !names.includes(name))
  if (unknown.length > 0) {
    say(`Unknown engine: ${unknown.join(', ')}. There are: ${names.join(', ')}.`)
    process.exitCode = 2
    return
  }
  const chosen = wanted.length > 0 ? wanted : names
  const folder = mkdtempSync(join(tmpdir(), 'colonnade-engines-work-'))
  try {
    const rows = await runAll(chosen, folder)
    const date = new Date().toISOString().slice(0, 10)
    const columns = checks.map(({ name }) => name)
    const table = renderTable(rows, columns, date)
    process.stdout.write(`${table}\n`)
    const failures = rows.flatMap(({ outcomes }) =>
      Object.values(outcomes).filter(({ state }) => state === 'failed'),
    )
    if (chosen.length === names.length) {
      writeFileSync(pagePath, placeTable(readFileSync(pagePath, 'utf8'), table))
    }
    const asked = rows.flatMap(({ outcomes }) => Object.values(outcomes)).length
    say(`${asked - failures.length} passed, ${failures.length} failed`)
    if (failures.length > 0 || asked === 0) process.exitCode = 1
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function runAll(chosen: readonly string[], folder: string): Promise<readonly Row[]> {
  const speechPath = join(folder, 'speech.wav')
  const speaker = await installSpeaker(say)
  await speaker.speak(spokenText, speechPath)
  say('Starting Colonnade …')
  const colonnade = await startColonnade()
  try {
    const rows: Row[] = []
    for (const name of names.filter((known) => chosen.includes(known))) {
      const starter = starters[name]
      rows.push(
        starter
          ? await runStarted(colonnade, await starter(join(folder, name)), speechPath)
          : await runChecks(colonnade, colonnade.embedded, speechPath),
      )
    }
    return rows
  } finally {
    await colonnade.stop()
  }
}

/** One engine at a time: side by side they would measure each other. */
async function runStarted(
  colonnade: Colonnade,
  started: StartedEngine,
  speechPath: string,
): Promise<Row> {
  try {
    return await runChecks(colonnade, await colonnade.connect(started), speechPath)
  } finally {
    await started.stop()
  }
}

async function runChecks(
  { client }: Colonnade,
  { kind, name, version, offers }: RealEngine,
  speechPath: string,
): Promise<Row> {
  say(`\n${name} ${version}`)
  const outcomes: Record<string, Outcome> = {}
  for (const check of checks) {
    const offer = offers.find(({ task }) => task === check.task)
    if (!offer) continue
    const outcome = await runCheck(check, { client, offer, kind, speechPath })
    say(`  ${outcome.state.padEnd(6)} ${check.name}${outcome.note ? `: ${outcome.note}` : ''}`)
    outcomes[check.name] = outcome
  }
  return { engine: name, version, outcomes }
}

await main(process.argv.slice(2))
