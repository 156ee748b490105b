/** Reasoning that a client carries from one request to the next because nothing is kept here: only its tenant's own comes back readable. */
import { Fault } from '../../../platform/fault.ts'
import type { Seal } from '../../../platform/seal.ts'

const context = 'responses|reasoning'

export function sealReasoning(text: string, seal: Seal): string {
  return seal.seal(Buffer.from(text), context).toString('base64')
}

/** Throws for what was changed, or sealed for another tenant or by another service. */
export function openReasoning(sealed: string, seal: Seal, param: string): string {
  const opened = seal.open(Buffer.from(sealed, 'base64'), context)
  if (opened) return opened.toString('utf8')
  throw new Fault({
    code: 'client.invalid_request',
    public:
      'The encrypted reasoning cannot be read: it is not as it was given out here to your tenant. Leave the item out.',
    param,
    details: { code: 'invalid_encrypted_content' },
  })
}
