/**
 * Parking and revival with a SIGKILL of the agent, the engine, or both after a random step of the agent, again and again, and
 * books of what was acknowledged. All clients come by the hop, as from a proxy, and try again as proxies do.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Change } from '../../lib/feed/messages.ts'
import { addressChange, databaseRow, dialerChange } from './data-node.ts'
import type { DataNodeProcess, Victim } from './data-node-process.ts'
import { startDataNodeProcess } from './data-node-process.ts'
import { HopDialer } from './hop-dialer.ts'
import { killWithin } from './processes.ts'
import type { Random } from './random.ts'

const ADDRESS = 'fdaa:0:1:0:1::2'
const SERVICE = 'db'
const KEYS = 8
const LONGEST_BYTES = 2000
/** From the order to rest until the next connection is served, an agent takes about as many. */
const MOST_STEPS = 60
const GIVE_UP_MS = 30_000
/** Work for what starts and ends: a few milliseconds of loading. */
const BULK = "for i = 1, 20000 do redis.call('set', 'bulk' .. i, string.rep('x', 50)) end return 1"

export interface DrillOptions {
  readonly dataDir: string
  readonly appendFsync: 'always' | 'everysec'
  readonly random: Random
}

export class KillDrill {
  readonly #options: DrillOptions
  readonly #rows: readonly Change[]
  #agent: DataNodeProcess | null = null
  #starting: Promise<DataNodeProcess> | null = null
  #ended = false
  #dialer: HopDialer | null = null
  /** What a key may hold: what was acknowledged last, and what was tried since and not acknowledged. */
  readonly #books = new Map<string, Set<string>>()
  readonly killed: Record<Victim, number> = { agent: 0, engine: 0, both: 0 }
  acknowledged = 0
  readonly wrong: string[] = []

  constructor(options: DrillOptions) {
    this.#options = options
    const row = databaseRow(SERVICE, [{ node: 'mad', role: 'primary' }], 'pw', { appendFsync: options.appendFsync })
    this.#rows = [row, addressChange(ADDRESS, SERVICE), dialerChange('proxy/mad-1')]
  }

  get kills(): number {
    return this.killed.agent + this.killed.engine + this.killed.both
  }

  async begin(): Promise<void> {
    await this.#served(`EVAL "${BULK}" 0`)
  }

  async round(): Promise<void> {
    const { random } = this.#options
    await this.#write()
    const victim = random.pick(['agent', 'engine', 'both'])
    const agent = await this.#running()
    agent.rest(SERVICE, { after: 1 + random.below(MOST_STEPS), victim })
    await delay(random.below(12))
    await this.#write()
    if (await agent.disarm()) this.killed[victim]++
    for (const [key, allowed] of this.#books) {
      const reply = await this.#served(`GET ${key}`)
      const value = /^\$\d+\r\n(.*)\r\n$/s.exec(reply)?.[1] ?? ''
      if (!allowed.has(value)) this.wrong.push(`${key} holds ${value.slice(0, 20) || reply}, not ${[...allowed].map((each) => each.slice(0, 20)).join(' or ')}`)
      allowed.clear()
      allowed.add(value)
    }
  }

  async bulkIsThere(): Promise<boolean> {
    return (await this.#served('STRLEN bulk20000')) === ':50\r\n'
  }

  async end(): Promise<void> {
    this.#dialer?.close()
    this.#ended = true
    await (await this.#starting?.catch(() => null))?.end('SIGKILL')
    killWithin(this.#options.dataDir)
  }

  /** Once, as a client does it; the books say what may have become of it. */
  async #write(): Promise<void> {
    const { random } = this.#options
    const [key, value] = [`k${random.below(KEYS)}`, randomBytes(1 + random.below(LONGEST_BYTES)).toString('base64url')]
    const allowed = this.#books.get(key) ?? new Set([''])
    this.#books.set(key, allowed)
    allowed.add(value)
    if ((await this.#ask(`SET ${key} ${value}`)) !== '+OK\r\n') return
    allowed.clear()
    allowed.add(value)
    this.acknowledged++
  }

  /** Again and again, until somebody answers. */
  async #served(line: string): Promise<string> {
    const deadlineMs = performance.now() + GIVE_UP_MS
    for (;;) {
      const reply = await this.#ask(line)
      if (reply !== null) return reply
      if (performance.now() > deadlineMs) throw new Error(`nobody answers ${line}`)
      await delay(5)
    }
  }

  /** null: the connection was refused, or ended before an answer. */
  async #ask(line: string): Promise<string | null> {
    const agent = await this.#running()
    this.#dialer ??= await new HopDialer({ path: agent.socket, agent: 'mad' }).open()
    const wire = this.#dialer.connect(SERVICE, ADDRESS)
    const ended = new Promise<void>((resolve) => wire.socket.once('close', resolve))
    const status = await wire.status()
    if (status === 0) wire.send(`AUTH pw\r\n${line}\r\n`)
    const complete = (): boolean => /^.\+OK\r\n(?:[+:-].*|\$-1|\$\d+\r\n.*)\r\n$/s.test(wire.text)
    if (status === 0) await Promise.race([ended, new Promise<void>((resolve) => wire.socket.on('data', () => complete() && resolve()))])
    wire.socket.destroy()
    const reply = status === 0 && complete() ? wire.text.slice(6) : null
    if (reply?.startsWith('-') === true) this.wrong.push(`${line.slice(0, 20)} was answered ${reply}`)
    return reply
  }

  async #running(): Promise<DataNodeProcess> {
    if (this.#agent?.over === false) return this.#agent
    this.#dialer?.close()
    this.#dialer = null
    const { dataDir } = this.#options
    // A round that goes on after a test has given up.
    if (this.#ended) throw new Error('the drill is over')
    this.#starting = startDataNodeProcess({ id: 'mad', dataDir, redis: { backoffMinMs: 5, backoffMaxMs: 20, readyTimeoutMs: 3000 } }, this.#rows)
    this.#agent = await this.#starting
    return this.#agent
  }
}
