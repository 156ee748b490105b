/** One HTTP exchange as it went over the wire, whoever made it. */
export interface ObservedExchange {
  readonly method: string
  /** With the query. */
  readonly path: string
  readonly requestHeaders: Readonly<Record<string, string>>
  readonly requestBody: Buffer
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  /** The answer came to its end. What a client left early is judged as far as it came. */
  readonly isWhole: boolean
}
