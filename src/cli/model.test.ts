import { expect, test } from 'vitest'
import { modelIdPattern } from '../catalog/model.ts'
import { idFromSource } from './model.ts'

test.each([
  ['hf:owner/name/Some-Model.Q4_1.gguf', 'some-model.q4_1'],
  ['hf:owner/name/Some-Model.gguf@ab810cf6', 'some-model'],
  ['pypi:package==0.1.2/folder/Model.Q4_1.gguf', 'model.q4_1'],
  ['https://host/path/A%20B.gguf?signature=x', 'a-20b'],
  ['file:/home/me/my models/Größe.gguf', 'gr-e'],
  ['file:/models/_.gguf', 'model'],
])('a model from %s is called %s unless somebody names it', (source, id) => {
  expect(idFromSource(source)).toBe(id)
  expect(id).toMatch(modelIdPattern)
})
