/** Hears PostgreSQL's NOTIFY on a connection of its own, and connects again for as long as it is open. */
import pg from 'pg'

const reconnectMs = 1_000

export interface Listener {
  close(): Promise<void>
}

/** Calls `onNotice` at each notification, and once after each connection, since notices in between were lost. */
export function listen(options: {
  readonly url: string
  readonly channel: string
  /** The notification's payload; `undefined` after a connection, when any number may have been missed. */
  readonly onNotice: (payload?: string) => void
  readonly onError: (error: Error) => void
}): Listener {
  let closed = false
  let client: pg.Client | undefined
  let timer: NodeJS.Timeout | undefined

  const retry = (): void => {
    if (closed || timer) return
    timer = setTimeout(() => {
      timer = undefined
      connect()
    }, reconnectMs)
  }
  const connect = (): void => {
    const connection = new pg.Client({
      connectionString: options.url,
      application_name: 'colonnade-listen',
      keepAlive: true,
      connectionTimeoutMillis: 2_000,
    })
    client = connection
    connection.on('notification', (notice) => options.onNotice(notice.payload))
    connection.on('error', options.onError)
    connection.on('end', retry)
    connection
      .connect()
      .then(() => connection.query(`LISTEN ${pg.escapeIdentifier(options.channel)}`))
      .then(() => options.onNotice())
      .catch((error: unknown) => {
        if (!closed && error instanceof Error) options.onError(error)
        connection.end().catch(() => {
          // It never connected; `retry` below is what matters.
        })
        retry()
      })
  }
  connect()
  return {
    async close() {
      closed = true
      clearTimeout(timer)
      await client?.end()
    },
  }
}
