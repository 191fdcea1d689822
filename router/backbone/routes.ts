/**
 * What this host sends to the addresses of others goes through the backbone's interface: a routing table of our own, asked
 * before the others, with one route for each address that is reached. What the backbone itself sends carries a mark and is
 * routed as if there were none.
 *
 *   7400  fwmark MARK          main     sealed datagrams
 *   7401  all                  TABLE    addresses that are reached
 *   7402  the feed's port      main     `required`: the feed is TLS, and brings the keys
 *   7403  all                  CLOSED   `required`: addresses of the backbone that aren't reached are unreachable
 *
 * The interface goes with its program, and with it the routes: what is left (rules, an empty table) changes nothing, or,
 * if it is required, lets nothing out. Programs on this host notice none of it: the addresses are those that they dial anyway.
 */
import type { RunCommand } from '../../lib/host-command.ts'

export const MARK = 0x4e43
const TABLE = 7400
const CLOSED_TABLE = 7401
const PRIORITY = { mark: 7400, table: 7401, feed: 7402, closed: 7403, flush: 7404 }

export interface BackboneRoutesOptions {
  /** Of the interface. */
  readonly name: string
  /** Our own address: what others are told and know us by. */
  readonly source: string
  /** Of the router, when nothing may leave this host for another one but through the backbone; null when it may. */
  readonly required: { readonly feedPort: number } | null
  readonly run: RunCommand
}

export class BackboneRoutes {
  readonly #options: BackboneRoutesOptions
  #reached = new Set<string>()
  #closed = new Set<string>()
  #queue: Promise<void> = Promise.resolve()

  constructor(options: BackboneRoutesOptions) {
    this.#options = options
  }

  /** @throws NearcastError host.denied, host.command-missing, host.failed */
  async open(): Promise<void> {
    const { required } = this.#options
    await this.#clear()
    await this.#batch([
      `rule add priority ${PRIORITY.mark} fwmark ${MARK} lookup main`,
      ...(required === null ? [] : [...['dport', 'sport'].map((port) => `rule add priority ${PRIORITY.feed} ipproto tcp ${port} ${required.feedPort} lookup main`), `rule add priority ${PRIORITY.closed} lookup ${CLOSED_TABLE}`]),
      `rule add priority ${PRIORITY.table} lookup ${TABLE}`,
    ])
  }

  /** Resolves when exactly these are there; calls take their turns. `known`: all addresses of the backbone. @throws NearcastError host.* */
  replace(reached: ReadonlySet<string>, known: ReadonlySet<string>): Promise<void> {
    const step = this.#queue.then(() => this.#replace(reached, this.#options.required === null ? new Set() : known))
    this.#queue = step.catch(() => undefined)
    return step
  }

  /** What isn't required is taken away; what is stays closed. */
  async close(): Promise<void> {
    await this.#queue
    if (this.#options.required === null) await this.#clear()
  }

  async #replace(reached: ReadonlySet<string>, closed: ReadonlySet<string>): Promise<void> {
    const { name, source } = this.#options
    const routes = changes(this.#reached, reached, (verb, address) => `route ${verb} ${address}/128 dev ${name} src ${source} table ${TABLE}`)
    const ends = changes(this.#closed, closed, (verb, address) => `route ${verb} unreachable ${address}/128 table ${CLOSED_TABLE}`)
    if (routes.length + ends.length === 0) return
    // Connections remember their route until the rules change: so they do, and open ones move with the others.
    await this.#batch([...ends, ...routes, `rule add priority ${PRIORITY.flush} lookup ${TABLE}`, `rule del priority ${PRIORITY.flush}`])
    this.#reached = new Set(reached)
    this.#closed = new Set(closed)
  }

  /** What an earlier run has left as well. A table is there as long as a rule names it. */
  async #clear(): Promise<void> {
    const { run } = this.#options
    const present = JSON.parse((await run('ip', ['-6', '-N', '-j', 'rule', 'show'])) || '[]') as { readonly priority?: number }[]
    const lines = present.flatMap(({ priority }) => {
      if (priority === undefined || !Object.values(PRIORITY).includes(priority)) return []
      const table = priority === PRIORITY.table ? TABLE : priority === PRIORITY.closed ? CLOSED_TABLE : null
      return [...(table === null ? [] : [`route flush table ${table}`]), `rule del priority ${priority}`]
    })
    if (lines.length > 0) await this.#batch(lines)
    this.#reached = new Set()
    this.#closed = new Set()
  }

  async #batch(lines: readonly string[]): Promise<void> {
    await this.#options.run('ip', ['-6', '-batch', '-'], lines.map((line) => `${line}\n`).join(''))
  }
}

function changes(present: ReadonlySet<string>, wanted: ReadonlySet<string>, line: (verb: 'replace' | 'del', address: string) => string): string[] {
  const gone = [...present].filter((address) => !wanted.has(address))
  const added = [...wanted].filter((address) => !present.has(address))
  return [...gone.map((address) => line('del', address)), ...added.map((address) => line('replace', address))]
}
