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
import { Arena } from './arena.ts'
import { CandidateSets } from './candidate-sets.ts'
import type { CandidateSet } from './candidate-sets.ts'
import { CONTROL, LAYOUT, MAX_CANDIDATES, MAX_NAMES_BYTES, MAX_SERVICE_ID_BYTES, MAX_WORDS, NAMES, POLICY, POLICY_TLS_MASK, SERVICE_ID_BITS, SLOT_WORDS } from './layout.ts'
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
  /** Room for so many addresses from the start. Default 4096. */
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
  /** What holds it (candidates.ts); at most 64, whole numbers below 2^31. */
  readonly nodes: readonly number[]
  /** What it is called, for whoever tells people of it; as JSON at most 2048 bytes. */
  readonly names: readonly string[]
}

export interface AddressEntry {
  /** 1 .. 2^32-1. */
  readonly generation: number
  readonly service: string
  readonly tls?: RouteTls | null
  readonly particularTls?: boolean
}

export interface RouteTableRows {
  readonly services: Iterable<readonly [string, ServiceEntry]>
  readonly addresses: Iterable<readonly [Ipv6, AddressEntry]>
}

interface ServiceState {
  candidates: CandidateSet
  /** 0: it isn't known, and has none. */
  names: number
  nameBytes: number
  port: number
  policy: number
}

interface Service extends ServiceState {
  readonly id: string
  readonly ordinal: number
  readonly record: number
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
  /** What services had before they were changed; while a whole table is being built, the one in force still names it. */
  readonly #left: ServiceState[] = []

  constructor({ prefix, seed, expected = DEFAULT_EXPECTED, reserveBytes = MAX_WORDS * 4 }: RouteTableWriterOptions) {
    const pages = Math.min(Math.ceil(reserveBytes / PAGE_BYTES), (MAX_WORDS * 4) / PAGE_BYTES)
    this.handle = { memory: new webAssembly.Memory({ initial: pages, maximum: pages, shared: true }) }
    this.#words = sharedWords(this.handle.memory)
    this.#prefix = prefix
    this.#seed = [seed[0] | 0, seed[1] | 0]
    this.#arena = new Arena(this.#words.length)
    this.#sets = new CandidateSets(this.#words, this.#arena)
    // Of services that aren't known; it stays.
    this.#sets.use([])
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
    this.#slots = this.#newSlots(this.#inForce.capacity)
    const kept = new Set<string>()
    const refused: Ipv6[] = []
    try {
      this.#fill(rows, kept, refused)
    } catch (error) {
      this.#free(this.#slots)
      this.#slots = this.#inForce
      for (const service of this.#services.values()) this.#tell(service)
      this.#giveBack()
      throw error
    }
    this.#publish()
    this.#giveBack()
    for (const { id } of this.#services.values()) if (!kept.has(id)) this.putService(id, null)
    return refused
  }

  #fill({ services, addresses }: RouteTableRows, kept: Set<string>, refused: Ipv6[]): void {
    for (const [id, entry] of services) if (this.putService(id, entry)) kept.add(id)
    for (const [address, entry] of addresses) if (!this.putAddress(address, entry)) refused.push(address)
  }

  /** @returns false when the id is none that can stand in the table, and then it isn't there. */
  putService(id: string, entry: ServiceEntry | null): boolean {
    if (entry === null) {
      const present = this.#services.get(id)
      if (present) this.#change(present, { candidates: this.#sets.use([]), names: 0, nameBytes: 0, port: 0, policy: 0 })
      return true
    }
    const names = Buffer.from(JSON.stringify(entry.names))
    if (!isServiceId(id) || entry.nodes.length > MAX_CANDIDATES || names.length > MAX_NAMES_BYTES) {
      this.putService(id, null)
      return false
    }
    const policy = POLICY.known | (entry.shadow === true ? POLICY.shadow : 0) | (kindNumber(entry.kind) << POLICY.kindShift) | ((entry.live ?? 0) << POLICY.liveShift)
    const record = this.#writeNames(names)
    this.#change(this.#service(id), { candidates: this.#sets.use(entry.nodes), names: record, nameBytes: names.length, port: entry.port, policy })
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
    this.#slots.write(slot, key, { port: service.port, generation: entry.generation, policy: service.policy | tls, service: service.record, names: service.names })
    if (before !== service.ordinal) {
      this.#slots.siblings.unlink(slot)
      this.#slots.siblings.link(slot, service.ordinal)
      this.#tidy(before)
    }
    return true
  }

  /** `usedBytes` without names, which have `nameBytes`. */
  get size(): { readonly addresses: number; readonly services: number; readonly candidateSets: number; readonly capacity: number; readonly usedBytes: number; readonly nameBytes: number } {
    const { count, capacity } = this.#slots
    const nameBytes = this.#arena.bytesFor('names')
    // The empty set of those that aren't known doesn't count.
    const candidateSets = this.#sets.size - 1
    return { addresses: count, services: this.#services.size, candidateSets, capacity, usedBytes: this.#arena.usedBytes - nameBytes, nameBytes }
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
    this.#writeBytes(record + 1, Buffer.from(id))
    const ordinal = this.#freeOrdinals.pop() ?? this.#byOrdinal.length
    const service = { id, ordinal, record, candidates: this.#sets.use([]), names: 0, nameBytes: 0, port: 0, policy: 0 }
    this.#byOrdinal[ordinal] = service
    this.#services.set(id, service)
    this.#point(service)
    return service
  }

  /** Takes over the candidates and the names. What readers may still be reading is given up last. */
  #change(service: Service, now: ServiceState): void {
    const before = { ...service }
    Object.assign(service, now)
    this.#point(service)
    this.#tell(service)
    this.#left.push(before)
    if (this.#slots === this.#inForce) this.#giveBack()
    this.#tidy(service.ordinal)
  }

  /** All addresses of a service. */
  #tell({ ordinal, port, policy, names }: Service): void {
    for (const slot of this.#slots.siblings.of(ordinal)) {
      const tls = this.#slots.policyOf(slot) & ((POLICY_TLS_MASK << POLICY.tlsShift) | POLICY.particularTls)
      this.#slots.update(slot, port, policy | tls, names)
    }
  }

  /** What services had before, now that no slot that is in force names it. */
  #giveBack(): void {
    for (const { candidates, names, nameBytes } of this.#left.splice(0)) {
      this.#sets.release(candidates)
      if (names > 0) this.#arena.freeCell('names', names, namesWords(nameBytes))
    }
  }

  #writeNames(names: Uint8Array): number {
    const record = this.#arena.takeCell('names', namesWords(names.length))
    Atomics.store(this.#words, record + NAMES.bytes, names.length)
    this.#writeBytes(record + NAMES.text, names)
    return record
  }

  #writeBytes(position: number, bytes: Uint8Array): void {
    const at = (index: number): number => bytes[index] ?? 0
    for (let index = 0; index < bytes.length; index += 4) {
      Atomics.store(this.#words, position + (index >> 2), at(index) | (at(index + 1) << 8) | (at(index + 2) << 16) | (at(index + 3) << 24))
    }
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

function namesWords(bytes: number): number {
  return NAMES.text + Math.ceil(bytes / 4)
}

function recordWords(id: string): number {
  return 1 + Math.ceil(id.length / 4)
}
