import { expect, test } from 'vitest'
import {
  besideUrl,
  displaySource,
  hubUrl,
  needsConversion,
  parseFileSource,
  parseHubSource,
  parsePackageSource,
  parseUrlSource,
} from './source.ts'

test.each([
  ['file:/models/a.gguf', '/models/a.gguf'],
  ['file:///models/a.gguf', '/models/a.gguf'],
  ['file:/my models/a%20b.gguf', '/my models/a%20b.gguf'],
])('%s names the file %s', (source, path) => {
  expect(parseFileSource(source)).toBe(path)
})

test('a file on the hub has an address at the endpoint, with its revision', () => {
  const file = parseHubSource('hf:owner/name/sub folder/a.gguf@v1/x'.replace(' ', '%'))
  expect(file).toEqual({ repository: 'owner/name', path: 'sub%folder/a.gguf', revision: 'v1/x' })
  expect(hubUrl('https://mirror.example/hub/', file)).toBe(
    'https://mirror.example/hub/owner/name/resolve/v1%2Fx/sub%25folder/a.gguf',
  )
  expect(parseHubSource('hf:o/n/a.gguf').revision).toBe('main')
})

test.each([
  ['pypi:pack-age==1.0.2/pack_age/a.gguf', 'pack-age==1.0.2', 'pack_age/a.gguf'],
  ['pypi:package/a.gguf', 'package', 'a.gguf'],
])('%s asks pip for %s', (source, requirement, path) => {
  expect(parsePackageSource(source)).toEqual({ requirement, path })
})

test.each([
  ['an option instead of a package', () => parsePackageSource('pypi:--index-url=x/a.gguf')],
  ['a direct reference', () => parsePackageSource('pypi:a@https://host/x')],
  ['a way out of the wheel', () => parsePackageSource('pypi:a/../../b.gguf')],
  ['no file', () => parsePackageSource('pypi:package')],
  ['a way out of the repository', () => parseHubSource('hf:owner/../a/b.gguf')],
  ['a repository without a file', () => parseHubSource('hf:owner/name')],
  ['a relative path', () => parseFileSource('file:a.gguf')],
  ['another protocol', () => parseUrlSource('ftp://host/a.gguf')],
])('%s is refused', (_, parse) => {
  expect(parse).toThrow(expect.objectContaining({ code: 'client.invalid_request' }))
})

test('a companion lies beside the file, and keeps the query that lets us in', () => {
  expect(besideUrl('https://h/a/model.safetensors?key=1', '1_Pooling/config.json')).toBe(
    'https://h/a/1_Pooling/config.json?key=1',
  )
})

test('logins and queries are not shown', () => {
  expect(displaySource('https://user:secret@h/a.gguf?token=secret')).toBe('https://h/a.gguf')
})

test.each([
  ['hf:o/n/model.safetensors', true],
  ['hf:o/n/model.safetensors@main', true],
  ['https://h/model.safetensors?download=true', true],
  ['hf:o/n/a.gguf', false],
  ['file:/a.safetensors/b.gguf', false],
])('%s is converted: %s', (source, expected) => {
  expect(needsConversion(source)).toBe(expected)
})
