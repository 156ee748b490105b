/** Ways of serving that OpenAI's clients name. Here all are served alike, and the client's word comes back, as its bookkeeping expects. */
const named: ReadonlySet<string> = new Set(['default', 'flex', 'scale', 'priority', 'fast'])

/** `auto`, and what nobody knows, leave the choice to us. `undefined` where nothing was asked. */
export function toServedTier(wanted: string | null | undefined): string | undefined {
  if (wanted === null || wanted === undefined) return undefined
  return named.has(wanted) ? wanted : 'default'
}
