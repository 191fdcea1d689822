/**
 * What an engine answers about itself, over the agent's own user and connection. One check at a time.
 *
 * LOADING is an answer, not health; BUSY (a long script) is health: it lives and will answer. Anything else, or nothing
 * in time, closes the connection, and the next check opens another.
 */
import type { Reply } from '../resp/decode.ts'
import { RespClient } from '../resp/client.ts'
import { AGENT_USER } from './acl.ts'

export interface Health {
  readonly state: 'well' | 'loading' | 'not-answering'
  /** Of a replica: it follows its primary now. null: not asked, or no replica. */
  readonly linked: boolean | null
  /** The append-only file can't be written. null: not asked. */
  readonly writesRefused: boolean | null
}

const NOT_ANSWERING: Health = { state: 'not-answering', linked: null, writesRefused: null }
const LOADING: Health = { state: 'loading', linked: null, writesRefused: null }

export class EngineHealth {
  readonly #path: string
  readonly #password: string
  readonly #timeoutMs: number
  #client: RespClient | null = null

  constructor(path: string, password: string, timeoutMs: number) {
    this.#path = path
    this.#password = password
    this.#timeoutMs = timeoutMs
  }

  /** Never rejects. `details`: the sections of INFO to read too. */
  async check(details: readonly ('replication' | 'persistence')[]): Promise<Health> {
    try {
      const client = await this.#connected()
      const pong = await client.command(['PING'], this.#timeoutMs)
      if (isError(pong, 'LOADING')) return LOADING
      if (isError(pong, 'BUSY')) return { ...NOT_ANSWERING, state: 'well' }
      if (pong.kind !== 'text' || pong.text !== 'PONG') return this.#lost()
      const info = details.length === 0 ? null : await client.command(['INFO', ...details], this.#timeoutMs)
      const fields = info?.kind === 'text' ? info.text : ''
      return {
        state: 'well',
        linked: /^role:slave\r$/m.test(fields) ? /^master_link_status:up\r$/m.test(fields) : null,
        writesRefused: details.includes('persistence') && fields !== '' ? /^aof_last_write_status:err\r$/m.test(fields) : null,
      }
    } catch {
      return this.#lost()
    }
  }

  /** @returns false when one of them wasn't answered with OK; the rest isn't sent then. */
  async apply(commands: readonly (readonly string[])[]): Promise<boolean> {
    try {
      const client = await this.#connected()
      for (const command of commands) {
        const reply = await client.command(command, this.#timeoutMs)
        if (reply.kind !== 'text' || !reply.text.startsWith('OK')) return false
      }
      return true
    } catch {
      return false
    }
  }

  close(): void {
    this.#client?.close()
    this.#client = null
  }

  async #connected(): Promise<RespClient> {
    if (this.#client !== null && !this.#client.closed) return this.#client
    const client = new RespClient(this.#path)
    this.#client = client
    const reply = await client.command(['AUTH', AGENT_USER, this.#password], this.#timeoutMs)
    if (reply.kind !== 'text') client.close()
    return client
  }

  #lost(): Health {
    this.close()
    return NOT_ANSWERING
  }
}

function isError(reply: Reply, prefix: string): boolean {
  return reply.kind === 'error' && reply.text.startsWith(`${prefix} `)
}
