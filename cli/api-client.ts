/**
 * The router's HTTP API as the command line uses it: one method per verb, answers as JSON, problem details (RFC 9457) as
 * errors that keep their code. Holds no state but where to ask and the token.
 */
import type { ErrorCode } from '../lib/errors.ts'
import { CODES, NearcastError } from '../lib/errors.ts'

export interface ApiPlace {
  /** `http://127.0.0.1:7200` */
  readonly api: string
  readonly token: string
}

interface Problem {
  readonly code?: string
  readonly detail?: string
  readonly title?: string
}

const REQUEST_TIMEOUT_MS = 20_000

export class ApiClient {
  readonly #place: ApiPlace

  constructor(place: ApiPlace) {
    this.#place = place
  }

  get<Answer>(path: string, query: Readonly<Record<string, string | undefined>> = {}): Promise<Answer> {
    const wanted = Object.entries(query).filter((pair): pair is [string, string] => pair[1] !== undefined)
    const search = new URLSearchParams(wanted).toString()
    return this.#ask('GET', search === '' ? path : `${path}?${search}`)
  }

  post<Answer>(path: string, body: unknown = {}): Promise<Answer> {
    return this.#ask('POST', path, body)
  }

  delete<Answer>(path: string): Promise<Answer> {
    return this.#ask('DELETE', path)
  }

  /** @throws NearcastError api.unreachable, api.error, or the code that the router answered with. */
  async #ask<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
    const { api, token } = this.#place
    let response: Response
    try {
      response = await fetch(new URL(path, api), {
        method,
        headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { 'content-type': 'application/json' }) },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      })
    } catch (error) {
      throw new NearcastError('api.unreachable', `No answer from ${api}: is the router running? NEARCAST_API names another one.`, { cause: error, retryable: true })
    }
    const text = await response.text()
    const value = parse(text)
    if (response.ok) return value as Answer
    const problem = (typeof value === 'object' && value !== null ? value : {}) as Problem
    const code = problem.code !== undefined && problem.code in CODES ? (problem.code as ErrorCode) : 'api.error'
    throw new NearcastError(code, problem.detail ?? problem.title ?? `${api} answered ${response.status}.`, { side: 'client' })
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** A path segment that holds a name from the user. */
export function segment(name: string): string {
  return encodeURIComponent(name)
}
