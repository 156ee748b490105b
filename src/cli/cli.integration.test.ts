/** The command line as a program, where nothing has been started. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'

const dataDirectory = mkdtempSync(join(tmpdir(), 'colonnade-cli-'))
const mainPath = join(import.meta.dirname, '../main.ts')
afterAll(() => rmSync(dataDirectory, { recursive: true }))

function run(...args: string[]) {
  return spawnSync(process.execPath, [mainPath, ...args], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], COLONNADE_DATA: dataDirectory },
  })
}

test('help names every command of the issue, and the version is that of the package', () => {
  const { status, stdout } = run('--help')
  expect(status).toBe(0)
  const names =
    'serve gateway control agent tenant project key plan limit credit model engine usage audit doctor chat'
  for (const name of names.split(' ')) expect(stdout).toMatch(new RegExp(`^  ${name}\\b`, 'm'))
  expect(run('--version').stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
})

test('a misspelt command is answered with the nearest one', () => {
  const { status, stdout, stderr } = run('gatewy')
  expect(status).toBe(1)
  expect(stderr).toContain('Did you mean gateway?')
  expect(stdout).toBe('')
})

test('a failure is one sentence on standard error that says what to do; under --json it is an object', () => {
  const plain = run('tenant', 'list')
  expect(plain).toMatchObject({ status: 1, stdout: '' })
  expect(plain.stderr).toMatch(/^There is no access token in .* --token.*\n$/)
  const json = run('tenant', 'list', '--json')
  expect(JSON.parse(json.stderr)).toMatchObject({ event: 'error' })
  const away = run('tenant', 'list', '--token', 't', '--control-url', 'http://127.0.0.1:1')
  expect(away.stderr).toMatch(
    /does not answer at http:\/\/127\.0\.0\.1:1\. Is 'colonnade serve' running/,
  )
})

test('doctor tells what is missing, and ends with 1', () => {
  const { status, stdout } = run('doctor', '--json')
  expect(status).toBe(1)
  const findings: unknown = JSON.parse(stdout)
  expect(findings).toContainEqual(expect.objectContaining({ name: 'Node', ok: true }))
  expect(findings).toContainEqual(expect.objectContaining({ name: 'database', ok: false }))
  expect(run('doctor').stdout).toMatch(/^✗ database .*colonnade serve/m)
})

test('a data folder that cannot be made is named, with the flag that helps', () => {
  const { status, stderr } = run('serve', '--data', '/dev/null/data')
  expect(status).toBe(1)
  expect(stderr).toMatch(/^The data folder \/dev\/null\/data cannot be used .*--data/)
})

test('chat without a key says how to get one', () => {
  const { status, stderr } = run('chat')
  expect(status).toBe(1)
  expect(stderr).toContain('colonnade key create')
})
