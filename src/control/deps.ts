/** What control operations are given. An operation lists only the part that it uses. */
import type { EngineAdapter, EngineAddress } from '../engines/engine.ts'
import type { ReceiptSigner } from '../billing/receipt.ts'
import type { Pepper } from '../identity/identity.ts'
import type { Clock } from '../platform/clock.ts'
import type { Seal } from '../platform/seal.ts'

export interface ControlDeps {
  readonly clock: Clock
  /** For new secrets. */
  readonly pepper: Pepper
  /** Seals what the database keeps secret. */
  readonly seal: Seal
  readonly receipts: ReceiptSigner
  readonly findAdapter: (kind: string) => EngineAdapter | undefined
  /** The kind of engine at an address, by what it says of itself. */
  readonly detectKind: (address: EngineAddress, signal: AbortSignal) => Promise<string | undefined>
}
