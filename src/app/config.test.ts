import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { appDatabaseUrl, isLoopback, readConfig, roleEnvironment } from './config.ts'

const folder = mkdtempSync(join(tmpdir(), 'colonnade-config-'))
const file = join(folder, 'colonnade.yaml')
afterAll(() => rmSync(folder, { recursive: true }))

const read = (flags = {}, environment: NodeJS.ProcessEnv = {}) =>
  readConfig({ dataDirectory: folder, ...flags }, environment)

function withFile<Result>(text: string, work: () => Result): Result {
  writeFileSync(file, text)
  try {
    return work()
  } finally {
    rmSync(file)
  }
}

test('flags win over the environment, which wins over the file', () => {
  withFile('gateway: { port: 1, count: 2 }\ncontrol: { port: 3 }\n', () => {
    const environment = { COLONNADE_PORT: '4', COLONNADE_CONTROL_PORT: '5' }
    const config = read({ gateway: { port: '6' } }, environment)
    expect(config.gateway).toMatchObject({ port: 6, count: 2 })
    expect(config.control.port).toBe(5)
  })
})

test('the result cannot be changed', () => {
  const config = read()
  expect(() => Object.assign(config.gateway, { port: 1 })).toThrow(TypeError)
})

test.each([
  { name: 'at the top', text: 'gatway: {}', message: /'gatway'.*Did you mean 'gateway'/ },
  { name: 'in a section', text: 'gateway: { prot: 1 }', message: /'gateway\.prot'.*'port'/ },
  {
    name: 'in an optional section',
    text: 'tls: { keyPth: a }',
    message: /'tls\.keyPth'.*'keyPath'/,
  },
  { name: 'of a key without default', text: 'weights: { hubTokn: a }', message: /'hubToken'/ },
])('an unknown key $name is refused with the nearest known one', ({ text, message }) => {
  withFile(text, () => expect(() => read()).toThrow(message))
})

test('a value of the wrong kind is refused with its key', () => {
  expect(() => read({}, { COLONNADE_PORT: 'many' })).toThrow(/gateway\.port/)
  expect(() => read({ configFile: join(folder, 'none.yaml') })).toThrow(/does not exist/)
  withFile('gateway: [', () => expect(() => read()).toThrow(/colonnade\.yaml cannot be read/))
  withFile('a text', () => expect(() => read()).toThrow(/keys and values/))
})

test.each([
  { host: '0.0.0.0', extra: {}, allowed: false },
  { host: '192.168.1.5', extra: { insecure: 'false' }, allowed: false },
  { host: '::', extra: { insecure: true }, allowed: true },
  {
    host: '0.0.0.0',
    extra: { tls: { certPath: import.meta.filename, keyPath: import.meta.filename } },
    allowed: true,
  },
  { host: '127.0.0.9', extra: {}, allowed: true },
])('listening on $host with $extra is allowed: $allowed', ({ host, extra, allowed }) => {
  const start = () => read({ gateway: { host }, ...extra })
  if (allowed) expect(start().gateway.host).toBe(host)
  else expect(start).toThrow(/without TLS/)
})

test('TLS needs both of its files, readable', () => {
  const tls = { certPath: import.meta.filename }
  expect(() => read({ tls })).toThrow(/--tls-key/)
  expect(() => read({ tls: { ...tls, keyPath: '/none' } })).toThrow(/\/none cannot be read/)
})

test('addresses that others can reach are never taken for loopback', () => {
  expect(['127.0.0.1', 'localhost', '::1'].every(isLoopback)).toBe(true)
  expect(['0.0.0.0', '::', '127.0.0.1.example.org', '10.0.0.1'].some(isLoopback)).toBe(false)
})

test('a role gets the whole configuration, and neither the owner nor the operator', () => {
  const config = withFile('engine: { parallel: 3 }', () =>
    read({ gateway: { count: 2 } }, { DATABASE_URL: 'postgresql://owner:secret@h/d' }),
  )
  const environment = roleEnvironment(
    config,
    { gateway: { index: 2 }, database: { appUrl: 'postgresql://app@h/d' } },
    {
      PATH: '/bin',
      DATABASE_URL: 'postgresql://owner:secret@h/d',
      COLONNADE_ADMIN_TOKEN: 'secret',
      COLONNADE_PORT: '1',
    },
  )
  expect(environment['PATH']).toBe('/bin')
  expect(JSON.stringify(environment)).not.toContain('secret')
  const role = readConfig({}, environment)
  expect(role).toMatchObject({ dataDirectory: folder, engine: { parallel: 3 } })
  expect(role.gateway).toMatchObject({ count: 2, index: 2, port: 8080 })
  expect(appDatabaseUrl(role)).toBe('postgresql://app@h/d')
})
