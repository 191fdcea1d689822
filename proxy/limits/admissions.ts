/**
 * How many connections an address and a network may have, and how many new ones a second: who comes in, who waits, who is
 * refused. Pure; time is a number.
 *
 * A connection comes in when its address AND its network have room and a token. Otherwise it waits in the queue of its
 * address, for a bounded time, if that queue isn't full. Whoever waits comes in before whoever comes later: in an address
 * first come, first served; the addresses of a network in turn. Networks have nothing in common here, so a tenant at its
 * limit never delays another.
 */
import type { Limits } from '../../lib/feed/messages.ts'
import { TokenBucket } from '../../lib/token-bucket.ts'

export interface AdmissionsSettings {
  /** Waiting connections per address. */
  readonly queueLength: number
  readonly queueMs: number
}

export type HitLimit = 'connections' | 'connections-per-second'

/** Where a connection belongs. */
export interface Place {
  readonly address: string
  readonly network: number
}

export type Entry = { readonly state: 'in' | 'waiting' } | { readonly state: 'refused'; readonly limit: HitLimit }

export interface Turn {
  readonly id: number
  readonly entered: boolean
  /** What it waited for. */
  readonly limit: HitLimit
}

interface Waiting {
  readonly id: number
  readonly place: Place
  readonly dueMs: number
  limit: HitLimit
}

/** What one address or network has. */
class Account {
  limits: Limits = {}
  open = 0
  readonly perNode = new Map<string, number>()
  bucket: TokenBucket | null = null

  hit(nowMs: number): HitLimit | null {
    const { maxConnections = Infinity } = this.limits
    if (this.open >= maxConnections) return 'connections'
    return this.bucket !== null && this.bucket.balance(nowMs) < 1 ? 'connections-per-second' : null
  }

  change(limits: Limits, nowMs: number): void {
    this.limits = limits
    const { connectionsPerSecond: rate } = limits
    // A second's worth may come at once.
    if (rate === undefined) this.bucket = null
    else if (this.bucket === null) this.bucket = new TokenBucket(rate, rate, nowMs)
    else this.bucket.change(rate, rate, nowMs)
  }
}

export class Admissions {
  readonly #settings: AdmissionsSettings
  /** Entries exist while there is a limit or an open connection. */
  readonly #accounts = new Map<string, Account>()
  readonly #inside = new Map<number, { readonly place: Place; node: string | null }>()
  /** Oldest first, and so the first to be refused. */
  readonly #waiting = new Map<number, Waiting>()
  /** network -> address -> queue; the first address is the next one to be asked. */
  readonly #queues = new Map<number, Map<string, Waiting[]>>()
  #turns: Turn[] = []

  constructor(settings: AdmissionsSettings) {
    this.#settings = settings
  }

  setAddress(place: Place, limits: Limits | undefined, nowMs: number): void {
    this.#set(addressName(place.address), limits, nowMs)
    this.#serve(place.network, nowMs)
  }

  setNetwork(network: number, limits: Limits | undefined, nowMs: number): void {
    this.#set(networkName(network), limits, nowMs)
    this.#serve(network, nowMs)
  }

  enter(id: number, place: Place, nowMs: number): Entry {
    this.#expire(nowMs)
    this.#serve(place.network, nowMs)
    if (!this.#queues.has(place.network)) {
      const limit = this.#hit(place, nowMs)
      if (limit === null) return this.#admit(id, place, nowMs)
      return this.#enqueue({ id, place, dueMs: nowMs + this.#settings.queueMs, limit })
    }
    const entry = this.#enqueue({ id, place, dueMs: nowMs + this.#settings.queueMs, limit: this.#hit(place, nowMs) ?? 'connections' })
    this.#serve(place.network, nowMs)
    if (!this.#inside.has(id)) return entry
    this.#turns = this.#turns.filter((turn) => turn.id !== id)
    return { state: 'in' }
  }

  /** It has ended, or doesn't wait any longer. Idempotent. */
  leave(id: number, nowMs: number): void {
    const waiting = this.#waiting.get(id)
    if (waiting !== undefined) return this.#dequeue(waiting)
    const present = this.#inside.get(id)
    if (present === undefined) return
    this.#inside.delete(id)
    this.#turns = this.#turns.filter((turn) => turn.id !== id)
    for (const name of namesOf(present.place)) {
      const account = this.#account(name)
      account.open--
      if (present.node !== null) countDown(account.perNode, present.node)
      this.#tidy(name, account)
    }
    this.#serve(present.place.network, nowMs)
  }

  /** The node that took it. */
  placed(id: number, node: string): void {
    const present = this.#inside.get(id)
    if (present === undefined || present.node !== null) return
    present.node = node
    for (const name of namesOf(present.place)) {
      const { perNode } = this.#account(name)
      perNode.set(node, (perNode.get(node) ?? 0) + 1)
    }
  }

  /** Whether this node carries its share of a soft limit; `nodes` hold the service. */
  hasItsShare(place: Place, node: string, nodes: number): boolean {
    return namesOf(place).some((name) => {
      const account = this.#accounts.get(name)
      const soft = account?.limits.softConnections
      return soft !== undefined && (account?.perNode.get(node) ?? 0) >= Math.ceil(soft / Math.max(1, nodes))
    })
  }

  /** What has been decided since the last call about connections that waited. */
  turns(nowMs: number): readonly Turn[] {
    this.#expire(nowMs)
    for (const network of this.#queues.keys()) this.#serve(network, nowMs)
    const turns = this.#turns
    this.#turns = []
    return turns
  }

  /** Until `turns` may say something without an `enter` or `leave`; Infinity: nobody waits. */
  nextMs(nowMs: number): number {
    let next = Infinity
    for (const { dueMs } of this.#waiting.values()) {
      next = dueMs - nowMs
      break
    }
    for (const queues of this.#queues.values()) {
      for (const [first] of queues.values()) {
        if (first?.limit === 'connections-per-second') next = Math.min(next, this.#tokenMs(first.place, nowMs))
      }
    }
    return Math.max(0, next)
  }

  open(name: string): number {
    return this.#accounts.get(name)?.open ?? 0
  }

  get waiting(): number {
    return this.#waiting.size
  }

  waitingAt({ address, network }: Place): number {
    return this.#queues.get(network)?.get(address)?.length ?? 0
  }

  #set(name: string, limits: Limits | undefined, nowMs: number): void {
    if (limits === undefined && !this.#accounts.has(name)) return
    const account = this.#account(name)
    account.change(limits ?? {}, nowMs)
    this.#tidy(name, account)
  }

  #account(name: string): Account {
    let account = this.#accounts.get(name)
    if (account === undefined) this.#accounts.set(name, (account = new Account()))
    return account
  }

  #tidy(name: string, { open, limits }: Account): void {
    if (open === 0 && Object.keys(limits).length === 0) this.#accounts.delete(name)
  }

  #hit(place: Place, nowMs: number): HitLimit | null {
    for (const name of namesOf(place)) {
      const limit = this.#accounts.get(name)?.hit(nowMs) ?? null
      if (limit !== null) return limit
    }
    return null
  }

  #tokenMs(place: Place, nowMs: number): number {
    return Math.max(...namesOf(place).map((name) => this.#accounts.get(name)?.bucket?.msUntil(1, nowMs) ?? 0))
  }

  #admit(id: number, place: Place, nowMs: number): Entry {
    this.#inside.set(id, { place, node: null })
    for (const name of namesOf(place)) {
      const account = this.#account(name)
      account.open++
      account.bucket?.take(1, nowMs)
    }
    return { state: 'in' }
  }

  #enqueue(waiting: Waiting): Entry {
    const { address, network } = waiting.place
    const queues = this.#queues.get(network) ?? new Map<string, Waiting[]>()
    const queue = queues.get(address) ?? []
    if (queue.length >= this.#settings.queueLength) return { state: 'refused', limit: waiting.limit }
    queue.push(waiting)
    queues.set(address, queue)
    this.#queues.set(network, queues)
    this.#waiting.set(waiting.id, waiting)
    return { state: 'waiting' }
  }

  #dequeue(waiting: Waiting): void {
    this.#waiting.delete(waiting.id)
    const { address, network } = waiting.place
    const queues = this.#queues.get(network)
    const queue = queues?.get(address)
    if (queues === undefined || queue === undefined) return
    queue.splice(queue.indexOf(waiting), 1)
    if (queue.length === 0) queues.delete(address)
    if (queues.size === 0) this.#queues.delete(network)
  }

  /** One of each address after the other, as long as one of them comes in. */
  #serve(network: number, nowMs: number): void {
    const queues = this.#queues.get(network)
    if (queues === undefined) return
    let refused = 0
    while (refused < queues.size) {
      const [entry] = queues
      const first = entry?.[1][0]
      if (entry === undefined || first === undefined) return
      // To the end: the next address is asked next.
      queues.delete(entry[0])
      queues.set(entry[0], entry[1])
      const limit = this.#hit(first.place, nowMs)
      if (limit !== null) {
        first.limit = limit
        refused++
        continue
      }
      refused = 0
      this.#dequeue(first)
      this.#admit(first.id, first.place, nowMs)
      this.#turns.push({ id: first.id, entered: true, limit: first.limit })
    }
  }

  #expire(nowMs: number): void {
    for (const waiting of this.#waiting.values()) {
      if (waiting.dueMs > nowMs) return
      this.#dequeue(waiting)
      this.#turns.push({ id: waiting.id, entered: false, limit: waiting.limit })
    }
  }
}

export function addressName(address: string): string {
  return `address/${address}`
}

export function networkName(network: number): string {
  return `network/${network}`
}

export function namesOf({ address, network }: Place): readonly [string, string] {
  return [addressName(address), networkName(network)]
}

function countDown(counts: Map<string, number>, key: string): void {
  const left = (counts.get(key) ?? 1) - 1
  if (left > 0) counts.set(key, left)
  else counts.delete(key)
}
