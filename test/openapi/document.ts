/** The parts of an OpenAPI document that traffic is compared with. */
export interface ApiDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

export interface Operation {
  readonly operationId: string
  readonly parameters: readonly (Parameter | Reference)[]
  readonly requestBody?: { readonly content: Readonly<Record<string, MediaType>> }
  readonly responses: Readonly<Record<string, ApiResponse | Reference>>
  readonly security?: readonly unknown[]
  readonly 'x-websocket'?: { readonly client: Reference; readonly server: Reference }
}
export interface Reference {
  readonly $ref: string
}
export interface Parameter {
  readonly name: string
  readonly in: 'path' | 'query' | 'header'
  readonly required: boolean
  readonly schema: object
}
export interface ApiResponse {
  readonly description: string
  readonly headers: Readonly<Record<string, Header | Reference>>
  readonly content?: Readonly<Record<string, MediaType>>
}
export interface Header {
  readonly required: boolean
  readonly schema: object
}
export interface MediaType {
  readonly schema: object
  readonly examples?: Readonly<Record<string, { readonly value: unknown }>>
  readonly 'x-event-schema'?: {
    readonly data: Reference
    readonly isNamed: boolean
    readonly end: { readonly data?: string; readonly types?: readonly string[] }
  }
}

/** `#/components/headers/etag` → what stands there; `undefined` for nothing. */
export function lookUp(document: unknown, reference: string): unknown {
  return reference
    .replace(/^#\//, '')
    .split('/')
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce<unknown>(
      (at, step) =>
        typeof at === 'object' && at !== null && Object.hasOwn(at, step)
          ? (at as Readonly<Record<string, unknown>>)[step]
          : undefined,
      document,
    )
}

export function resolve<Value extends object>(document: unknown, value: Value | Reference): Value {
  // A test says that every reference leads somewhere, and the type of a place is that of what stands in it.
  return '$ref' in value ? (lookUp(document, value.$ref) as Value) : (value as Value)
}
