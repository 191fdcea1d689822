/**
 * A client of the router's HTTP API. Errors of the API arrive as NearcastErrors with the API's own code, sentence and
 * status; everything else that can go wrong gets a code of ours that says what to do next.
 */
import { z } from 'zod'
import { NearcastError } from '../lib/errors.ts'
import type { ErrorCode } from '../lib/errors.ts'

/** Longer than the 5 s that a provisioning may take to be acknowledged. */
const REQUEST_TIMEOUT_MS = 30_000
const MAX_ANSWER_BYTES = 32 << 20

export interface ApiAccess {
  readonly url: string
  readonly token: string
}

const problem = z.object({ code: z.string(), title: z.string().optional(), detail: z.string().optional() })

export class ApiClient {
  readonly #access: ApiAccess

  constructor(access: ApiAccess) {
    this.#access = access
  }

  /** @throws NearcastError api.error when the answer isn't what `schema` says. */
  async get<Schema extends z.ZodType>(path: string, schema: Schema): Promise<z.infer<Schema>> {
    return this.#ask('GET', path, undefined, schema)
  }

  async post<Schema extends z.ZodType>(path: string, body: object, schema: Schema): Promise<z.infer<Schema>> {
    return this.#ask('POST', path, body, schema)
  }

  async patch<Schema extends z.ZodType>(path: string, body: object, schema: Schema): Promise<z.infer<Schema>> {
    return this.#ask('PATCH', path, body, schema)
  }

  /** What the API says of it; some answers tell who has acknowledged. */
  async delete(path: string): Promise<unknown> {
    return this.#ask('DELETE', path, undefined, z.unknown())
  }

  async #ask<Schema extends z.ZodType>(method: string, path: string, body: object | undefined, schema: Schema): Promise<z.infer<Schema>> {
    const { status, text } = await this.#send(method, path, body)
    const answer = text === '' ? null : parseJson(text)
    if (status >= 400) throw this.#refusal(status, answer)
    const result = schema.safeParse(answer)
    if (result.success) return result.data
    const issue = result.error.issues[0]
    throw new NearcastError('api.error', `${this.#access.url} answered ${method} ${path} in a form that this version doesn't know (${issue?.path.join('.')}: ${issue?.message}).`)
  }

  async #send(method: string, path: string, body: object | undefined): Promise<{ status: number; text: string }> {
    const url = new URL(path, this.#access.url)
    try {
      const response = await fetch(url, {
        method,
        headers: { authorization: `Bearer ${this.#access.token}`, ...(body && { 'content-type': 'application/json' }) },
        ...(body && { body: JSON.stringify(body) }),
        redirect: 'error',
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      })
      return { status: response.status, text: await readLimited(response) }
    } catch (error) {
      if (error instanceof NearcastError) throw error
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error)
      throw new NearcastError('api.unreachable', `The API at ${url.origin} doesn't answer (${cause}); check NEARCAST_API, or the cluster with "nearcast dev status".`, { cause: error })
    }
  }

  #refusal(status: number, answer: unknown): NearcastError {
    const parsed = problem.safeParse(answer)
    if (!parsed.success) return new NearcastError('api.error', `${this.#access.url} answered ${status} without saying why; check that it is a Nearcast API.`)
    const { code, detail, title } = parsed.data
    // The router's codes come from the same table.
    return new NearcastError(code as ErrorCode, detail ?? title ?? `The API answered ${status}.`, { side: 'upstream' })
  }
}

async function readLimited(response: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > MAX_ANSWER_BYTES) throw new NearcastError('api.error', `The API's answer is longer than ${MAX_ANSWER_BYTES} bytes; ask for less.`)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
