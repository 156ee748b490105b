/** A caller's idempotency key, while a file or a batch is created with it. Types only. */
import type { Sql } from '../platform/postgres/database.ts'

/** Only the id of what was made is kept with a key, so that who deletes what was made deletes all of it. */
export interface CreationKey {
  /**
   * What was made with it before, which `look` finds by its id. `undefined` for the first time: then nobody else has the key until the transaction
   * ends. Throws when the key came with another request, when somebody has it, and when what was made is gone.
   */
  find<Thing>(
    tx: Sql<unknown>,
    look: (id: string) => Promise<Thing | undefined>,
  ): Promise<Thing | undefined>
  /** Keeps the id with what was made: both are committed, or neither is. */
  keep(tx: Sql<unknown>, id: string): Promise<void>
}
