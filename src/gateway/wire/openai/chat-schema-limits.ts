/** Bounds for the JSON schemas that a caller sends along: engines compile them, and some would fetch what they point to. */
import { Fault } from '../../../platform/fault.ts'

/** OpenAI's own limits for structured outputs; depth is bounded with the body's. */
const propertiesMax = 5_000
const enumValuesMax = 1_000
const textCharactersMax = 120_000

/** Throws `client.unsupported_value` with the schema's place in `param`. */
export function checkSchema(schema: unknown, param: string): void {
  const tally = { properties: 0, enumValues: 0, characters: 0 }
  const refuse = (text: string): Fault =>
    new Fault({ code: 'client.unsupported_value', public: `The schema ${text}.`, param })
  const walk = (value: unknown): void => {
    if (Array.isArray(value)) value.forEach(walk)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return
    for (const [key, field] of Object.entries(value)) {
      if (key === '$ref' && typeof field === 'string' && !field.startsWith('#')) {
        throw refuse("may point only into itself: a '$ref' begins with '#'")
      }
      if (key === 'properties' && typeof field === 'object' && field !== null) {
        const names = Object.keys(field)
        tally.properties += names.length
        tally.characters += names.reduce((sum, name) => sum + name.length, 0)
      }
      if (key === 'enum' && Array.isArray(field)) {
        tally.enumValues += field.length
        for (const item of field) if (typeof item === 'string') tally.characters += item.length
      }
      walk(field)
    }
  }
  walk(schema)
  if (tally.properties > propertiesMax) throw refuse(`has more than ${propertiesMax} properties`)
  if (tally.enumValues > enumValuesMax) throw refuse(`has more than ${enumValuesMax} enum values`)
  if (tally.characters > textCharactersMax) {
    throw refuse(`has more than ${textCharactersMax} characters in names and enum values`)
  }
}
