/**
 * The vocabulary of the API: a route says who may call it, what it takes and what it answers; api/http.ts enforces the
 * first two before `handle` runs, the compiler and the tests the third, and openapi.ts writes all of it down. To a member
 * everything but its own org's routes doesn't exist.
 */
import { z } from 'zod'
import type { OrgRecord, Scope, TokenRecord } from '../store/records.ts'
import type { Act } from '../store/store.ts'

export interface Call<Body = unknown, Query = Readonly<Record<string, string>>> {
  /** Of the path: `:name`. */
  readonly params: Readonly<Record<string, string>>
  readonly query: Query
  readonly body: Body
  /** The org that a member belongs to; undefined for operators. */
  readonly memberOf: string | undefined
  /** null on routes without a token. */
  readonly token: TokenRecord | null
  /** Whether credentials are shown: to tokens that may change things. */
  readonly showsSecrets: boolean
  /** For the audit: who calls. */
  readonly act: (what: string) => Act
}

/**
 * `operator`: operators only. `org`: also members of the org in the path; `handle` gets it. `token`: any valid token.
 * `join`: without a token, on TLS listeners only. `public`: without a token.
 */
export type Access = 'operator' | 'org' | 'token' | 'join' | 'public'

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

export interface Route {
  readonly method: Method
  /** `/v1/orgs/:org/redis` */
  readonly path: string
  readonly access: Access
  /** What it does, in a line. */
  readonly summary: string
  readonly query: z.ZodType
  readonly body?: z.ZodType
  /** Of the answer. */
  readonly status: 200 | 201
  /** Of what `handle` returns. */
  readonly answer: z.ZodType
  readonly handle: (call: Call, org: OrgRecord | null) => unknown
}

const NO_QUERY = z.strictObject({})

interface Declaration<A extends Access, Body, Query, Answer extends z.ZodType> {
  readonly method: Method
  readonly path: string
  readonly access: A
  readonly summary: string
  /** A strict object; without one the route takes no parameter. */
  readonly query?: z.ZodType<Query>
  readonly body?: z.ZodType<Body>
  readonly status?: 200 | 201
  readonly answer: Answer
  readonly handle: (call: Call<Body, Query>, org: A extends 'org' ? OrgRecord : null) => z.input<Answer> | Promise<z.input<Answer>>
}

/** Declares a route; body, parameters and answer are of their schemas' types. A POST answers 201 unless told. */
export function route<A extends Access, Answer extends z.ZodType, Body = undefined, Query = undefined>(declared: Declaration<A, Body, Query, Answer>): Route {
  const { handle, query, method, status = method === 'POST' ? 201 : 200, ...rest } = declared
  // http.ts has parsed both with these very schemas, and gives the org exactly when access is `org`.
  return { ...rest, method, status, query: query ?? NO_QUERY, handle: handle as unknown as Route['handle'] }
}

/** What a token must be allowed to. */
export function scopeOf({ method }: Pick<Route, 'method'>): Scope {
  return method === 'GET' ? 'read' : 'write'
}
