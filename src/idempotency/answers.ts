/**
 * Front door of idempotency for control, and for what is created on a gateway: the answer to a change is kept in the change's own transaction, sealed, and given again to whoever asks for the
 * same with the same key. A change that failed leaves nothing, so it may be tried again.
 */
import { assert } from '../platform/assert.ts'
import type { Sql } from '../platform/postgres/database.ts'
import type { Seal } from '../platform/seal.ts'
import { digest } from './key.ts'
import { findOperation, insertOperation, tryLockOperation } from './store.ts'

export interface KeyedOperation {
  /** Who acts: an access token, or a project through one of its API keys. */
  readonly actor: string
  readonly tenantId: string | undefined
  readonly key: string
  /** Whatever makes it the same operation: its name, its path, its body. */
  readonly request: readonly unknown[]
}

export type KeptAnswer =
  | { readonly outcome: 'first' }
  | { readonly outcome: 'replayed'; readonly answer: unknown }
  | { readonly outcome: 'reused' | 'in_progress' }

export interface AnswerBook {
  /** With `first`, the key is the caller's until its transaction ends. */
  find(tx: Sql<unknown>, operation: KeyedOperation): Promise<KeptAnswer>
  /** Keeps the answer with the change: both are committed, or neither is. */
  keep(tx: Sql<unknown>, operation: KeyedOperation, answer: unknown): Promise<void>
}

/** Answers to changes are small; the longest names a model with all that belongs to it. */
const answerBytesMax = 1024 * 1024

export function createAnswerBook(secret: Buffer, seal: Seal): AnswerBook {
  const keyDigestOf = ({ actor, key }: KeyedOperation): Buffer =>
    digest(secret, ['operation', actor, key])
  const requestDigestOf = ({ request }: KeyedOperation): Buffer =>
    digest(secret, ['operation-request', ...request])
  return {
    async find(tx, operation) {
      const keyDigest = keyDigestOf(operation)
      if (!(await tryLockOperation(tx, keyDigest))) return { outcome: 'in_progress' }
      const kept = await findOperation(tx, keyDigest)
      if (!kept) return { outcome: 'first' }
      if (!kept.request_digest.equals(requestDigestOf(operation))) return { outcome: 'reused' }
      const plain = seal.open(kept.sealed_answer, contextOf(keyDigest))
      assert(plain, 'what was sealed here opens here')
      return { outcome: 'replayed', answer: JSON.parse(plain.toString('utf8')) }
    },
    async keep(tx, operation, answer) {
      const keyDigest = keyDigestOf(operation)
      const plain = Buffer.from(JSON.stringify(answer))
      assert(plain.length <= answerBytesMax, 'an answer to a change is small')
      await insertOperation(tx, {
        keyDigest,
        requestDigest: requestDigestOf(operation),
        tenantId: operation.tenantId,
        sealedAnswer: seal.seal(plain, contextOf(keyDigest)),
      })
    },
  }
}

function contextOf(keyDigest: Buffer): string {
  return `idempotent_operations|sealed_answer|${keyDigest.toString('hex')}`
}
