/**
 * A control operation as data. The one runner in control.ts authenticates, checks the permission, opens the transaction with the
 * caller's scope, calls `handle`, and writes the audit entry in that same transaction. An operation that forgets its
 * permission or its audit line does not compile; OpenAPI and the permission matrix test are made from the same list.
 */
import type { z } from 'zod'
import type { Sql } from '../platform/postgres/database.ts'
import type { Permission } from '../identity/role.ts'

/** Who calls: a person or a program behind an access token. */
export interface Actor {
  readonly tokenId: string
  readonly role: string
  /** `undefined` for the provider's own staff. */
  readonly tenantId: string | undefined
  readonly ip: string
}

export interface OperationContext<Deps> {
  readonly actor: Actor
  /** The transaction that also carries the audit entry. Rights follow the scope: row-level security applies. */
  readonly tx: Sql<unknown>
  readonly deps: Deps
  /** Runs after the commit, for facts that leave the database (notices, kicks). Never for anything that must not be lost. */
  afterCommit(work: () => void): void
}

/** What the audit entry says. `resource` is an id such as `key_…`; `details` holds facts without secrets or content. */
export interface AuditLine {
  readonly resource: string
  /** The tenant that is concerned, where the path does not name it. */
  readonly tenantId?: string | undefined
  readonly details?: Readonly<Record<string, unknown>> | undefined
}

interface OperationBase<Params, Query, Body, Result, Deps> {
  /** `<resource>.<verb>`, such as `keys.create`: the audit action and OpenAPI's operationId. */
  readonly id: string
  /** Under `/api/v1`, in Fastify's form. A path with `:tenantId` acts on that tenant; any other is for the platform. */
  readonly path: string
  readonly permission: Permission
  readonly summary: string
  readonly params?: z.ZodType<Params>
  readonly query?: z.ZodType<Query>
  readonly body?: z.ZodType<Body>
  /** What leaves; fields that the schema does not name are dropped. */
  readonly result: z.ZodType<Result>
  handle(
    input: { readonly params: Params; readonly query: Query; readonly body: Body },
    context: OperationContext<Deps>,
  ): Promise<Result>
}

export type ReadOperation<Params, Query, Body, Result, Deps> = OperationBase<
  Params,
  Query,
  Body,
  Result,
  Deps
> & {
  readonly method: 'GET'
}

export type WriteOperation<Params, Query, Body, Result, Deps> = OperationBase<
  Params,
  Query,
  Body,
  Result,
  Deps
> & {
  readonly method: 'POST' | 'PATCH' | 'PUT' | 'DELETE'
  /** The audit line of this change. `'none'` is only for heartbeats of our own agents, which change no right and no money. */
  readonly audit:
    | 'none'
    | ((
        input: { readonly params: Params; readonly query: Query; readonly body: Body },
        result: Result,
      ) => AuditLine)
}

/** Type-checks an operation and hides its type parameters from the list that holds it. */
export function defineOperation<
  Deps,
  Params = unknown,
  Query = unknown,
  Body = unknown,
  Result = unknown,
>(
  operation:
    | ReadOperation<Params, Query, Body, Result, Deps>
    | WriteOperation<Params, Query, Body, Result, Deps>,
): Operation {
  return operation as unknown as Operation
}

export type Operation =
  | ReadOperation<unknown, unknown, unknown, unknown, unknown>
  | WriteOperation<unknown, unknown, unknown, unknown, unknown>
