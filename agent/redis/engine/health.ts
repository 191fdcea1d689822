/**
 * What an engine answers about itself, over the agent's own user and connection. One check at a time.
 *
 * LOADING is an answer, not health; BUSY (a long script) and MISCONF (it can't write its file, and says so to PING too)
 * are: reads are served. Anything else, or nothing in time, closes the connection, and the next check opens another.
 */
import type { Reply } from '../resp/reply-decoder.ts'
import { RespClient } from '../resp/client.ts'
import { AGENT_USER } from './acl.ts'

export interface Health {
  readonly state: 'well' | 'loading' | 'not-answering'
  /** Of a replica: it follows its primary now. null: not asked, or no replica. */
  readonly linked: boolean | null
  /** Its append-only file holds the whole copy: it would have its data after a restart without its primary. */
  readonly kept: boolean
  /** A primary's append-only file can't be written. null: it didn't say. */
  readonly writesRefused: boolean | null
  /** A script or function runs for longer than `busy-reply-threshold`. */
  readonly busy: boolean
}

/** Behind a first copy Redis writes its file anew; until that has ended well the file is what it was before. */
const COPY_IS_KEPT = ['aof_enabled:1', 'aof_rewrite_in_progress:0', 'aof_rewrite_scheduled:0', 'aof_last_bgrewrite_status:ok']

/** CLIENT LIST, of as many connections as an engine takes. */
const MAX_LIST_BYTES = 8 << 20

const NOT_ANSWERING: Health = { state: 'not-answering', linked: null, kept: false, writesRefused: null, busy: false }

export class EngineHealth {
  readonly #path: string
  readonly #password: string
  readonly #timeoutMs: number
  #client: RespClient | null = null
  #refused = false

  constructor(path: string, password: string, timeoutMs: number) {
    this.#path = path
    this.#password = password
    this.#timeoutMs = timeoutMs
  }

  /** It doesn't take this agent's password: another one configured it, or nobody. */
  get refused(): boolean {
    return this.#refused
  }

  /** Never rejects. `replica`: asks for its link too. */
  async check(replica: boolean): Promise<Health> {
    try {
      const client = await this.#connected()
      const pong = await client.command(['PING'], this.#timeoutMs)
      if (isError(pong, 'LOADING')) return { ...NOT_ANSWERING, state: 'loading' }
      if (isError(pong, 'BUSY')) return { ...NOT_ANSWERING, state: 'well', busy: true }
      const writesRefused = isError(pong, 'MISCONF')
      if (!writesRefused && (pong.kind !== 'text' || pong.text !== 'PONG')) return this.#lost()
      const info = replica ? await client.command(['INFO', 'replication', 'persistence'], this.#timeoutMs) : null
      if (info?.kind !== 'text') return { state: 'well', linked: null, kept: false, writesRefused, busy: false }
      const says = (line: string): boolean => info.text.includes(`\r\n${line}\r\n`)
      const linked = says('master_link_status:up')
      return { state: 'well', linked, kept: linked && COPY_IS_KEPT.every(says), writesRefused, busy: false }
    } catch {
      return this.#lost()
    }
  }

  /** @returns false when one of them wasn't answered with OK; the rest isn't sent then. */
  async apply(commands: readonly (readonly string[])[]): Promise<boolean> {
    for (const command of commands) {
      const [reply] = (await this.ask([command])) ?? []
      if (reply?.kind !== 'text' || !reply.text.startsWith('OK')) return false
    }
    return true
  }

  /** Never rejects. @returns null when it didn't answer all of them. */
  async ask(commands: readonly (readonly string[])[]): Promise<Reply[] | null> {
    try {
      const client = await this.#connected()
      return await Promise.all(commands.map((command) => client.command(command, this.#timeoutMs)))
    } catch {
      return null
    }
  }

  close(): void {
    this.#client?.close()
    this.#client = null
  }

  async #connected(): Promise<RespClient> {
    if (this.#client !== null && !this.#client.closed) return this.#client
    const client = new RespClient(this.#path, { maxBytes: MAX_LIST_BYTES, maxDepth: 16 })
    this.#client = client
    const reply = await client.command(['AUTH', AGENT_USER, this.#password], this.#timeoutMs)
    this.#refused = reply.kind === 'error'
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
