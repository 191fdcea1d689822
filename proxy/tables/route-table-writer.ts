/**
 * Writes the routes that data threads read (route-table.ts). One of it, in the control thread, over one shared
 * memory, whose pages cost memory only once they are used; what only a writer needs (who has which words, which slots belong to a
 * service) is kept beside it, in ordinary memory.
 *
 * Every change is O(1) but those of a service, which reach each of its addresses. A region of slots that gets too full is
 * copied to one of twice the size, which is then named in the directory. Pure; the seed of the hash is given.
 */
import { flycastNumber, isFlycast, networkOf } from '../../lib/address.ts'
import type { Ipv6 } from '../../lib/address.ts'
import { NearcastError } from '../../lib/errors.ts'
import { Arena } from './arena.ts'
import { CandidateSets } from './candidate-sets.ts'
import type { CandidateSet } from './candidate-sets.ts'
import { CONTROL, LAYOUT, MAX_CANDIDATES, MAX_SERVICE_ID_BYTES, MAX_WORDS, POLICY, POLICY_TLS_MASK, SERVICE_ID_BITS, SLOT_WORDS } from './layout.ts'
import { kindNumber, tlsNumber } from './route-table.ts'
import type { RouteKind, RouteTableHandle, RouteTls } from './route-table.ts'
import { sharedWords } from './shared-words.ts'
import type { SharedWords } from './shared-words.ts'
import { Slots } from './slots.ts'
import type { SlotKey } from './slots.ts'
import { PAGE_BYTES, webAssembly } from './web-assembly.ts'

export interface RouteTableWriterOptions {
  /** First 16 bits of the address plan. */
  readonly prefix: number
  /** Two words that nobody else knows: the key of the hash. */
  readonly seed: readonly [number, number]
  /** Room for so many addresses and networks from the start. Default 4096. */
  readonly expected?: number
  /** Address space, not memory: the table never gets larger. At most 256 MiB, which is the default. */
  readonly reserveBytes?: number
}

export interface ServiceEntry {
  /** 1 .. 65535. */
  readonly port: number
  readonly kind: RouteKind
  readonly shadow?: boolean
  /** `liveCode`. Default 0: no policy. */
  readonly live?: number
  /** Numbers of the nodes that hold it, best first; at most 64, whole numbers below 2^31. Services with the same ones share their order. */
  readonly nodes: readonly number[]
  /** Services of the same nodes that need an order of their own get a name here. */
  readonly variant?: string
}

export interface AddressEntry {
  /** 1 .. 2^32-1. */
  readonly generation: number
  readonly service: string
  readonly tls?: RouteTls | null
  readonly particularTls?: boolean
  /** In the limit counters. Default 0: none. */
  readonly account?: number
}

export interface NetworkEntry {
  readonly account?: number
}

export interface RouteTableRows {
  readonly networks: Iterable<readonly [number, NetworkEntry]>
  readonly services: Iterable<readonly [string, ServiceEntry]>
  readonly addresses: Iterable<readonly [Ipv6, AddressEntry]>
}

interface Service {
  readonly id: string
  readonly ordinal: number
  readonly record: number
  candidates: CandidateSet
  port: number
  policy: number
}

/** Fuller than this, and searches for what isn't there get long. */
const MAX_LOAD = 0.84
const DEFAULT_EXPECTED = 4096

export class RouteTableWriter {
  readonly handle: RouteTableHandle
  readonly #prefix: number
  readonly #seed: readonly [number, number]
  readonly #words: SharedWords
  readonly #arena: Arena
  readonly #sets: CandidateSets
  readonly #services = new Map<string, Service>()
  readonly #byOrdinal: (Service | null)[] = []
  readonly #freeOrdinals: number[] = []
  #slots: Slots
  /** What readers see; another one only while a whole table is being built. */
  #inForce: Slots
  #networks = 0

  constructor({ prefix, seed, expected = DEFAULT_EXPECTED, reserveBytes = MAX_WORDS * 4 }: RouteTableWriterOptions) {
    const pages = Math.min(Math.ceil(reserveBytes / PAGE_BYTES), (MAX_WORDS * 4) / PAGE_BYTES)
    this.handle = { memory: new webAssembly.Memory({ initial: pages, maximum: pages, shared: true }) }
    this.#words = sharedWords(this.handle.memory)
    this.#prefix = prefix
    this.#seed = [seed[0] | 0, seed[1] | 0]
    this.#arena = new Arena(this.#words.length)
    this.#sets = new CandidateSets(this.#words, this.#arena)
    // Of services that aren't known; it stays.
    this.#sets.use([], '')
    Atomics.store(this.#words, CONTROL.layout, LAYOUT)
    Atomics.store(this.#words, CONTROL.prefix, prefix)
    Atomics.store(this.#words, CONTROL.key0, this.#seed[0])
    Atomics.store(this.#words, CONTROL.key1, this.#seed[1])
    this.#slots = this.#newSlots(capacityFor(expected))
    this.#inForce = this.#slots
    this.#publish()
  }

  /**
   * Makes exactly these rows the table; its addresses change all at once. Needs room for the old one and the new one.
   * @returns addresses that were refused. @throws NearcastError table.full, and then the old addresses stay in force
   */
  replace(rows: RouteTableRows): Ipv6[] {
    const networks = this.#networks
    this.#slots = this.#newSlots(this.#inForce.capacity)
    this.#networks = 0
    const kept = new Set<string>()
    const refused: Ipv6[] = []
    try {
      this.#fill(rows, kept, refused)
    } catch (error) {
      this.#free(this.#slots)
      this.#slots = this.#inForce
      this.#networks = networks
      throw error
    }
    this.#publish()
    for (const { id } of this.#services.values()) if (!kept.has(id)) this.putService(id, null)
    return refused
  }

  #fill({ networks, services, addresses }: RouteTableRows, kept: Set<string>, refused: Ipv6[]): void {
    for (const [network, entry] of networks) this.putNetwork(network, entry)
    for (const [id, entry] of services) if (this.putService(id, entry)) kept.add(id)
    for (const [address, entry] of addresses) if (!this.putAddress(address, entry)) refused.push(address)
  }

  putNetwork(network: number, entry: NetworkEntry | null): void {
    const key = { network, high: 0, low: 0 }
    if (entry === null) {
      if (this.#remove(key)) this.#networks--
      return
    }
    const slot = this.#place(key)
    const before = this.#slots.count
    this.#slots.write(slot, key, { port: 0, generation: 0, policy: POLICY.known, service: 0, account: entry.account ?? 0 })
    if (this.#slots.count > before) this.#networks++
  }

  /** @returns false when the id is none that can stand in the table, and then it isn't there. */
  putService(id: string, entry: ServiceEntry | null): boolean {
    if (entry === null) {
      const present = this.#services.get(id)
      if (present) this.#change(present, this.#sets.use([], ''), 0, 0)
      return true
    }
    if (!isServiceId(id) || entry.nodes.length > MAX_CANDIDATES) {
      this.putService(id, null)
      return false
    }
    const policy = POLICY.known | (entry.shadow === true ? POLICY.shadow : 0) | (kindNumber(entry.kind) << POLICY.kindShift) | ((entry.live ?? 0) << POLICY.liveShift)
    const service = this.#service(id)
    this.#change(service, this.#sets.use(entry.nodes, entry.variant ?? ''), entry.port, policy)
    return true
  }

  /** @returns false when it is no Flycast address of the plan, or its entry can't stand in the table: then it isn't there. */
  putAddress(address: Ipv6, entry: AddressEntry | null): boolean {
    const key = keyOf(address, this.#prefix)
    if (key === null) return entry === null
    if (entry === null) {
      this.#remove(key)
      return true
    }
    if (!isServiceId(entry.service) || entry.generation > 0xffff_ffff) {
      this.#remove(key)
      return false
    }
    const slot = this.#place(key)
    const service = this.#service(entry.service)
    const before = this.#slots.siblings.ownerOf(slot)
    const tls = (tlsNumber(entry.tls ?? null) << POLICY.tlsShift) | (entry.particularTls === true ? POLICY.particularTls : 0)
    this.#slots.write(slot, key, { port: service.port, generation: entry.generation, policy: service.policy | tls, service: service.record, account: entry.account ?? 0 })
    if (before !== service.ordinal) {
      this.#slots.siblings.unlink(slot)
      this.#slots.siblings.link(slot, service.ordinal)
      this.#tidy(before)
    }
    return true
  }

  /** The order of the candidates of all services that are held by exactly these nodes. @returns false: there are none. */
  orderCandidates(nodes: readonly number[], variant = ''): boolean {
    return this.#sets.order(nodes, variant)
  }

  get size(): { readonly addresses: number; readonly networks: number; readonly services: number; readonly candidateSets: number; readonly capacity: number; readonly usedBytes: number } {
    const { count, capacity } = this.#slots
    // The empty set of those that aren't known doesn't count.
    const candidateSets = this.#sets.size - 1
    return { addresses: count - this.#networks, networks: this.#networks, services: this.#services.size, candidateSets, capacity, usedBytes: this.#arena.usedBytes }
  }

  #remove(key: SlotKey): boolean {
    const slot = this.#slots.search(key)
    if (slot < 0) return false
    const owner = this.#slots.siblings.ownerOf(slot)
    this.#slots.remove(slot)
    this.#tidy(owner)
    return true
  }

  /** Where the key stands or may be written. @throws NearcastError table.full */
  #place(key: SlotKey): number {
    const slot = this.#slots.search(key)
    if (slot >= 0) return slot
    if (this.#slots.count + 1 <= this.#slots.capacity * MAX_LOAD) return ~slot
    this.#grow()
    return ~this.#slots.search(key)
  }

  #grow(): void {
    const old = this.#slots
    const next = this.#newSlots(old.capacity * 2)
    old.copyTo(next)
    this.#slots = next
    if (old === this.#inForce) this.#publish()
    else this.#free(old)
  }

  #newSlots(capacity: number): Slots {
    const base = this.#arena.takeRegion(capacity * SLOT_WORDS)
    this.#words.fill(0, base, base + capacity * SLOT_WORDS)
    return new Slots(this.#words, base, capacity, this.#seed)
  }

  #free({ base, capacity }: Slots): void {
    this.#arena.freeRegion(base, capacity * SLOT_WORDS)
  }

  /** From here on readers look into this region, and no longer into the one before. */
  #publish(): void {
    const words = this.#words
    const old = this.#inForce
    Atomics.add(words, CONTROL.directory, 1)
    Atomics.store(words, CONTROL.base, this.#slots.base)
    Atomics.store(words, CONTROL.capacity, this.#slots.capacity)
    Atomics.add(words, CONTROL.directory, 1)
    this.#inForce = this.#slots
    if (old !== this.#slots) this.#free(old)
  }

  /** A service that is named before it is known has nothing, and addresses of it are unknown. */
  #service(id: string): Service {
    const present = this.#services.get(id)
    if (present) return present
    const record = this.#arena.takeCell('service', recordWords(id))
    for (let index = 0; index < id.length; index += 4) {
      const at = (offset: number): number => (index + offset < id.length ? id.charCodeAt(index + offset) : 0)
      Atomics.store(this.#words, record + 1 + (index >> 2), at(0) | (at(1) << 8) | (at(2) << 16) | (at(3) << 24))
    }
    const ordinal = this.#freeOrdinals.pop() ?? this.#byOrdinal.length
    const service = { id, ordinal, record, candidates: this.#sets.use([], ''), port: 0, policy: 0 }
    this.#byOrdinal[ordinal] = service
    this.#services.set(id, service)
    this.#point(service)
    return service
  }

  /** Takes over the use of `candidates`. */
  #change(service: Service, candidates: CandidateSet, port: number, policy: number): void {
    const before = service.candidates
    service.candidates = candidates
    service.port = port
    service.policy = policy
    this.#point(service)
    this.#sets.release(before)
    for (const slot of this.#slots.siblings.of(service.ordinal)) {
      const tls = this.#slots.policyOf(slot) & ((POLICY_TLS_MASK << POLICY.tlsShift) | POLICY.particularTls)
      this.#slots.update(slot, port, policy | tls)
    }
    this.#tidy(service.ordinal)
  }

  #point({ id, record, candidates }: Service): void {
    Atomics.store(this.#words, record, ((candidates.record / 2) << SERVICE_ID_BITS) | id.length)
  }

  /** Forgets a service that is neither known nor named by an address. */
  #tidy(ordinal: number): void {
    const service = this.#byOrdinal[ordinal]
    if (!service || service.policy !== 0 || this.#slots.siblings.first(ordinal) >= 0) return
    this.#services.delete(service.id)
    this.#byOrdinal[ordinal] = null
    this.#freeOrdinals.push(ordinal)
    this.#sets.release(service.candidates)
    this.#arena.freeCell('service', service.record, recordWords(service.id))
  }
}

/** `Route.live` of a policy as lib/live-policy.ts has it. @throws NearcastError config.invalid for text that is none */
export function liveCode(policy: string | undefined): number {
  if (policy === undefined) return 0
  if (policy === 'keep') return 1
  if (policy === 'cut') return 2
  const [, seconds] = /^drain:([1-9]\d{0,4})$/.exec(policy) ?? []
  if (seconds === undefined) throw new NearcastError('config.invalid', `"${policy}" is no policy for live connections; use keep, cut or drain:<seconds>.`)
  return Number(seconds) + 2
}

/** Slots for so many entries. */
function capacityFor(entries: number): number {
  return Math.ceil(Math.max(entries, 1) / MAX_LOAD) + 1
}

function keyOf(address: Ipv6, prefix: number): SlotKey | null {
  const network = networkOf(address, prefix)
  if (network === null || !isFlycast(address, prefix)) return null
  const number = flycastNumber(address)
  return { network, high: Math.floor(number / 0x1_0000_0000), low: number | 0 }
}

function isServiceId(id: string): boolean {
  return id.length <= MAX_SERVICE_ID_BYTES && /^[\x20-\x7e]+$/.test(id)
}

function recordWords(id: string): number {
  return 1 + Math.ceil(id.length / 4)
}
