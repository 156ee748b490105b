/** Whether a text is JSON of a schema. What is wrong is told by the schema's own words, never by the text's. Pure. */
import { Ajv2020 } from 'ajv/dist/2020.js'
import { parseJson } from './answer.ts'
import { must } from './check.ts'

const ajv = new Ajv2020()

/** Fails the check for a text that is not. */
export function mustMatch(text: string | undefined, schema: object, what: string): void {
  const value = parseJson(text ?? '')
  must(value !== undefined, `${what} is no JSON`)
  const isValid = ajv.validate(schema, value)
  const [error] = ajv.errors ?? []
  must(isValid, `${what} breaks its schema at ${error?.schemaPath}`)
}
