/**
 * The vocabulary of the API: a route says who may call it and what its body is; api/http.ts enforces both before `handle`
 * runs. To a member everything but its own org's routes doesn't exist.
 */
import type { z } from 'zod'
import type { OrgRecord } from '../store/records.ts'
import type { Act } from '../store/store.ts'

export interface Call<Body = unknown> {
  /** Of the path: `:name`. */
  readonly params: Readonly<Record<string, string>>
  readonly query: Readonly<Record<string, string>>
  readonly body: Body
  /** The org that a member belongs to; undefined for operators. */
  readonly memberOf: string | undefined
  /** For the audit: who calls. */
  readonly act: (what: string) => Act
}

/**
 * `operator`: operators only. `org`: also members of the org in the path; `handle` gets it. `token`: any valid token.
 * `join`: without a token, on TLS listeners only.
 */
export type Access = 'operator' | 'org' | 'token' | 'join'

export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** `/v1/orgs/:org/redis` */
  readonly path: string
  readonly access: Access
  readonly body?: z.ZodType
  /** Of the answer; 200 unless told. */
  readonly status?: 200 | 201
  readonly handle: (call: Call, org: OrgRecord | null) => unknown
}

type Handler<Body> = (call: Call<Body>) => unknown
type OrgHandler<Body> = (call: Call<Body>, org: OrgRecord) => unknown

/** The constructors keep a handler and its body schema of one type. */
export function get(path: string, access: Exclude<Access, 'org'>, handle: Handler<unknown>): Route {
  return { method: 'GET', path, access, handle }
}

export function post<Body>(path: string, access: Exclude<Access, 'org'>, body: z.ZodType<Body>, handle: Handler<Body>): Route {
  return { method: 'POST', path, access, body, status: 201, handle: (call) => handle(call as Call<Body>) }
}

export function remove(path: string, access: Exclude<Access, 'org'>, handle: Handler<unknown>): Route {
  return { method: 'DELETE', path, access, handle }
}

export function orgGet(path: string, handle: OrgHandler<unknown>): Route {
  return { method: 'GET', path: `/v1/orgs/:org${path}`, access: 'org', handle: (call, org) => handle(call, org as OrgRecord) }
}

export function orgPost<Body>(path: string, body: z.ZodType<Body>, handle: OrgHandler<Body>): Route {
  return { method: 'POST', path: `/v1/orgs/:org${path}`, access: 'org', body, status: 201, handle: (call, org) => handle(call as Call<Body>, org as OrgRecord) }
}

export function orgRemove(path: string, handle: OrgHandler<unknown>): Route {
  return { method: 'DELETE', path: `/v1/orgs/:org${path}`, access: 'org', handle: (call, org) => handle(call, org as OrgRecord) }
}
