/** Who a request to the data plane acts as. Made only by a successful authentication. */
export interface Principal {
  readonly tenantId: string
  readonly projectId: string
  readonly apiKeyId: string
  readonly currency: string
  readonly priceListId: string
  /** Ids or aliases; `undefined` means every model that is offered. */
  readonly allowedModels: readonly string[] | undefined
  /** Places besides our own machines where the tenant's prompts may go (residency.ts). */
  readonly allowedLocations: readonly string[]
  /** How long its responses are kept, for requests that ask for it; `undefined` for not at all. */
  readonly responsesKeptDays?: number | undefined
}
