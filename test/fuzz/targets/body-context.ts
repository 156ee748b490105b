import type { BodyContext } from '../../../src/gateway/endpoint.ts'
import { tolerant } from '../../../src/gateway/wire/openai/field-policy.ts'
import { createSeal, newSealingKey } from '../../../src/platform/seal.ts'

const seal = createSeal(newSealingKey())

/** As the pipeline gives it, where nothing is forwarded that is not known. */
export function bodyContext(contentType: string): BodyContext {
  return {
    headers: { 'content-type': contentType },
    fieldPolicy: tolerant,
    seal: () => seal,
    memory: () => undefined,
  }
}
