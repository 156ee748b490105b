/** The flags that all commands know. */
export interface GlobalOptions {
  readonly data?: string
  readonly config?: string
  readonly json?: boolean
  readonly controlUrl?: string
  readonly token?: string
}
