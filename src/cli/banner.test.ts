import { expect, test } from 'vitest'
import { renderBanner } from './banner.ts'

const facts = {
  apiUrl: 'http://127.0.0.1:8080/v1',
  controlUrl: 'http://127.0.0.1:8081',
  dataDirectory: '/data',
  program: 'bin/colonnade.mjs',
  firstSecrets: { apiKey: 'cln_k_test', adminToken: 'cln_a_test' },
  model: 'tiny',
  localEngines: [],
}

test('the first start shows addresses, secrets and lines that work as they stand', () => {
  const banner = renderBanner(facts)
  expect(banner).toContain('API          http://127.0.0.1:8080/v1\n')
  expect(banner).toContain('Control API  http://127.0.0.1:8081/docs\n')
  expect(banner.match(/cln_k_test/g)).toHaveLength(3)
  expect(banner).toContain('Ctrl-C')
  const body = /-d '(.*)'$/m.exec(banner)?.[1] ?? ''
  expect(JSON.parse(body)).toMatchObject({ model: 'tiny', temperature: 0 })
})

test('the snippet is four lines of JavaScript', () => {
  const lines = renderBanner(facts).split('\n')
  const start = lines.findIndex((line) => line.includes('import OpenAI'))
  const snippet = lines.slice(start, start + 5).map((line) => line.trim())
  expect(snippet[4]).toBe('')
  const code = snippet.slice(1).join('\n')
  expect(() => new Function('OpenAI', `return async () => {${code}}`)).not.toThrow()
})

test('a later start shows no secret', () => {
  const banner = renderBanner({ ...facts, firstSecrets: undefined })
  expect(banner).not.toMatch(/cln_/)
  expect(banner).toContain('bin/colonnade.mjs key create')
})

test('without a model, one line says how to give one or an engine', () => {
  const line = renderBanner({ ...facts, model: undefined })
    .split('\n')
    .find((text) => text.startsWith('No model'))
  expect(line).toContain('bin/colonnade.mjs model add')
  expect(line).toContain('bin/colonnade.mjs engine add')
})

test('engines on this machine are offered, each with the command that adds it', () => {
  const ollama = {
    url: 'http://127.0.0.1:11434',
    kind: 'ollama',
    models: ['a:1b', 'b:1b', 'c:1b', 'd:1b', 'e:1b'],
  }
  const byFile = {
    url: 'http://127.0.0.1:8080',
    kind: 'llama-server',
    models: ['/models/my model.Q4_1.gguf'],
  }
  const banner = renderBanner({ ...facts, localEngines: [ollama, byFile] })
  expect(banner).toContain('ollama at http://127.0.0.1:11434: a:1b, b:1b, c:1b and 2 more\n')
  expect(banner).toContain('bin/colonnade.mjs engine add http://127.0.0.1:11434\n')
  expect(banner).toContain('engine add http://127.0.0.1:8080 --name my-model.Q4_1\n')
})

test('a machine without other engines hears nothing of them', () => {
  expect(renderBanner(facts)).not.toMatch(/found on this machine/i)
})
