/** The commands that connect a provider and say where prompts may go, against the real control API. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { operatorAt, runCommand } from '../../test/cli-for-tests.ts'
import { startControlPlatform, type ControlPlatform } from '../../test/control-platform.ts'
import { engineCommand } from './engine.ts'
import { tenantCommand } from './tenant.ts'

const directory = mkdtempSync(join(tmpdir(), 'colonnade-provider-'))
const keyFile = join(directory, 'key')
const service = createServer((request, response) => {
  response.statusCode = request.headers['api-key'] === 'made-up-key' ? 200 : 401
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify({ data: [] }))
})
let platform: ControlPlatform
let url = ''
beforeAll(async () => {
  platform = await startControlPlatform()
  await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(service.address() as AddressInfo).port}`
  writeFileSync(keyFile, 'made-up-key\n')
})
afterAll(async () => {
  await platform?.close()
  service.closeAllConnections()
  service.close()
  rmSync(directory, { recursive: true })
})

const run = (line: string): Promise<string> =>
  runCommand([engineCommand, tenantCommand], line.split(' '), operatorAt(platform))

const addAzure = () =>
  `engine add --provider azure-openai ${url} --api-version 2024-10-21 --model my-deployment --as gpt --location FR --key-file ${keyFile}`

test('an operator connects a provider, and is told that nobody is served by it yet', async () => {
  const said = await run(addAzure())
  expect(said).toMatch(/gpt +azure-openai +FR, microsoft/)
  expect(said).toContain('colonnade tenant update NAME --allow-location FR')
  const listed = await run('engine list')
  expect(listed).toMatch(/gpt +azure-openai +external +FR, microsoft +ready/)
  expect(said + listed).not.toContain('made-up-key')
})

test('a setting may be named by itself, and one that is wrong is explained', async () => {
  await expect(run(`${addAzure()} --set resource=X`)).rejects.toThrow(/"resource" is wrong/)
  await expect(run(`${addAzure()} --set resource`)).rejects.toThrow(/name=value/)
})

test('where the prompts of a tenant may go is changed and shown', async () => {
  expect(await run('tenant get own')).toMatch(/prompts may go to +our own machines$/m)
  expect(await run('tenant update own --allow-location fr,EU')).toContain(
    'may go to our own machines, EU, FR',
  )
  expect(await run('tenant get own')).toMatch(/prompts may go to +our own machines, EU, FR$/m)
  await run('tenant update own --own-machines-only')
  expect(await run('tenant get own')).toMatch(/prompts may go to +our own machines$/m)
  await expect(run('tenant update own --own-machines-only --allow-location FR')).rejects.toThrow(
    /either/,
  )
})
