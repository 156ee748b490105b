/** Authenticated encryption with a key of one purpose: AES-256-GCM, a random 96-bit nonce, and the context as associated data. */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { assert } from './assert.ts'

export interface Seal {
  /** Returns nonce ‖ tag ‖ ciphertext. The context (`table|column|row`) must be given again to open it. */
  seal(plain: Buffer, context: string): Buffer
  /** Returns `undefined` when the bytes were changed, or sealed with another key or context. */
  open(sealed: Buffer, context: string): Buffer | undefined
}

const nonceBytes = 12
const tagBytes = 16

/** For content that has a key of its own, which is sealed with another one beside it: who forgets that, has forgotten the content. */
export function newSealingKey(): Buffer {
  return randomBytes(32)
}

export function createSeal(key: Buffer): Seal {
  assert(key.length === 32, 'a sealing key has 32 bytes')
  return {
    seal(plain, context) {
      const nonce = randomBytes(nonceBytes)
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(context))
      const text = Buffer.concat([cipher.update(plain), cipher.final()])
      return Buffer.concat([nonce, cipher.getAuthTag(), text])
    },
    open(sealed, context) {
      if (sealed.length < nonceBytes + tagBytes) return undefined
      const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, nonceBytes))
      decipher.setAAD(Buffer.from(context))
      decipher.setAuthTag(sealed.subarray(nonceBytes, nonceBytes + tagBytes))
      try {
        return Buffer.concat([
          decipher.update(sealed.subarray(nonceBytes + tagBytes)),
          decipher.final(),
        ])
      } catch {
        // The tag does not match: the caller decides what a broken seal means.
        return undefined
      }
    },
  }
}
