/**
 * The routes as data threads read them: Flycast address -> service, policy, candidates, out of shared memory, without
 * locks, without allocating, never half written. The control thread writes them (route-table-writer.ts).
 *
 * A reader takes nothing for true that changed while it looked: a slot by its version, a miss by the count of moves, both
 * by the directory, which says what region of slots is in force. It waits only for the few stores that a writer is in the
 * middle of. Pure: no sockets, no clock, no logger.
 */
import type { Ipv6 } from '../../lib/address.ts'
import { keyedHash } from './keyed-hash.ts'
import { CONTROL, MAX_CANDIDATES, MAX_SERVICE_ID_BYTES, POLICY, POLICY_KIND_MASK, POLICY_LIVE_MASK, POLICY_TLS_MASK, SERVICE_ID_BITS, SET, SLOT, SLOT_WORDS } from './layout.ts'
import type { SharedWords } from './shared-words.ts'
import { pauseOn } from './shared-words.ts'

/** Goes to any thread by postMessage or workerData. */
export interface RouteTableHandle {
  readonly buffer: SharedArrayBuffer
}

export type RouteKind = 'redis' | 'tcp' | 'postgres'
export type RouteTls = 'terminate' | 'passthrough' | 'auto'
const KINDS: readonly RouteKind[] = ['redis', 'tcp', 'postgres']
const TLS: readonly (RouteTls | null)[] = [null, 'terminate', 'passthrough', 'auto']

export function kindNumber(kind: RouteKind): number {
  return KINDS.indexOf(kind)
}

export function tlsNumber(tls: RouteTls | null): number {
  return TLS.indexOf(tls)
}

/** What is known of one address. Made once and filled by `find` again and again. */
export class Route {
  /** 1 .. 2^32-1. */
  network = 0
  /** 1 .. 2^32-1; a later owner of the same address never has the same. */
  generation = 0
  port = 0
  kind: RouteKind = 'tcp'
  /** null: bytes are carried as they are. */
  tls: RouteTls | null = null
  /** There is more to its TLS (ALPN, a CA of the clients) than stands here: ask the control thread. */
  particularTls = false
  /** The rule is judged but not enforced. */
  shadow = false
  /** What happens to live connections (lib/live-policy.ts), as `liveCode` writes it: 0 none, 1 keep, 2 cut, else seconds + 2. */
  live = 0
  /** The service's number: the same for all addresses of a service, until it is removed. */
  service = 0
  /** Its account in the limit counters (limit-counters.ts); 0: none. */
  account = 0
  /** Where it was found, and when: `follow` and `inForce` compare. */
  position = 0
  version = 0
  directory = 0
}

/** Where a route leads. Made once and filled by `follow`. */
export class Target {
  /** The id of the service: the first `serviceBytes` bytes, printable ASCII. */
  readonly service = new Uint8Array(MAX_SERVICE_ID_BYTES)
  serviceBytes = 0
  /** Numbers of nodes, best first: the first `count`. */
  readonly nodes = new Int32Array(MAX_CANDIDATES)
  count = 0
}

export class RouteTable {
  readonly #words: SharedWords
  readonly #prefix: number
  readonly #seed0: number
  readonly #seed1: number

  constructor(handle: RouteTableHandle) {
    const words = new Int32Array(handle.buffer)
    this.#words = words
    this.#prefix = Atomics.load(words, CONTROL.prefix)
    this.#seed0 = Atomics.load(words, CONTROL.seed0)
    this.#seed1 = Atomics.load(words, CONTROL.seed1)
  }

  /** Whether this address is in force, whatever the port; then `into` says as what. */
  find(address: Ipv6, into: Route): boolean {
    const low = word(address, 12)
    const high = (byte(address, 10) << 8) | byte(address, 11)
    // The host part of Flycast addresses is 1, and their number isn't 0.
    if (((byte(address, 0) << 8) | byte(address, 1)) !== this.#prefix || word(address, 6) !== 1 || (low === 0 && high === 0)) return false
    return this.#find(word(address, 2), high, low, into)
  }

  /** The account of a network (0: none), or -1: there is no such network. `into` is overwritten. */
  network(network: number, into: Route): number {
    return this.#find(network | 0, 0, 0, into) ? into.account : -1
  }

  /**
   * Service and candidates of a route that was just found. @returns false when the route isn't in force any more, or
   * stands elsewhere: find it again, and decide anew.
   */
  follow(route: Route, into: Target): boolean {
    const words = this.#words
    // Read from what may be something else by now; the last look decides.
    if (route.service <= 0 || route.service + 1 + MAX_SERVICE_ID_BYTES / 4 > words.length) return false
    for (let turn = 0; ; turn++) {
      const head = Atomics.load(words, route.service)
      const set = (head >>> SERVICE_ID_BITS) * 2
      this.#readId(route.service, head, into)
      const version = this.#readCandidates(set, into)
      const same = version !== TORN && Atomics.load(words, route.service) === head && Atomics.load(words, set + SET.version) === version
      if (!this.inForce(route)) return false
      if (same) return true
      pauseOn(words, route.service, head, turn)
    }
  }

  /** Whether nothing has changed at that address since it was found, as far as a reader can tell. */
  inForce(route: Route): boolean {
    return Atomics.load(this.#words, route.position + SLOT.version) === route.version && Atomics.load(this.#words, CONTROL.directory) === route.directory
  }

  #readId(record: number, head: number, into: Target): void {
    const bytes = Math.min(head & ((1 << SERVICE_ID_BITS) - 1), MAX_SERVICE_ID_BYTES)
    for (let index = 0; index < bytes; index += 4) {
      const four = Atomics.load(this.#words, record + 1 + (index >> 2))
      into.service[index] = four
      into.service[index + 1] = four >>> 8
      into.service[index + 2] = four >>> 16
      into.service[index + 3] = four >>> 24
    }
    into.serviceBytes = bytes
  }

  /** @returns the version that was read, or TORN. */
  #readCandidates(set: number, into: Target): number {
    const words = this.#words
    if (set + SET.nodes + MAX_CANDIDATES > words.length) return TORN
    const version = Atomics.load(words, set + SET.version)
    const count = Math.min(Atomics.load(words, set + SET.count) >>> 0, MAX_CANDIDATES)
    for (let index = 0; index < count; index++) into.nodes[index] = Atomics.load(words, set + SET.nodes + index)
    into.count = count
    return (version & 1) === 0 ? version : TORN
  }

  #find(network: number, high: number, low: number, into: Route): boolean {
    const words = this.#words
    const hash = keyedHash(this.#seed0, this.#seed1, network, high, low) >>> 0
    for (let turn = 0; ; turn++) {
      const directory = Atomics.load(words, CONTROL.directory)
      const moves = Atomics.load(words, CONTROL.moves)
      const base = Atomics.load(words, CONTROL.base)
      const capacity = Atomics.load(words, CONTROL.capacity)
      if ((directory & 1) === 1 || Atomics.load(words, CONTROL.directory) !== directory) {
        pauseOn(words, CONTROL.directory, directory, turn)
        continue
      }
      const found = this.#probe(base, capacity, homeOf(hash, capacity), network, high, low, into)
      if (Atomics.load(words, CONTROL.directory) !== directory) continue
      if (found === FOUND) {
        into.directory = directory
        return true
      }
      if (found === UNKNOWN) return false
      if (found === ABSENT && (moves & 1) === 0 && Atomics.load(words, CONTROL.moves) === moves) return false
      if (found === ABSENT) pauseOn(words, CONTROL.moves, moves | 1, turn)
      else pauseOn(words, into.position + SLOT.version, into.version, turn)
    }
  }

  /** From its home to the first empty slot. */
  #probe(base: number, capacity: number, home: number, network: number, high: number, low: number, into: Route): number {
    const words = this.#words
    const end = base + capacity * SLOT_WORDS
    let position = base + home * SLOT_WORDS
    for (let probes = 0; probes < capacity; probes++) {
      const present = Atomics.load(words, position + SLOT.network)
      if (present === 0) return ABSENT
      if (present === network && Atomics.load(words, position + SLOT.low) === low && Atomics.load(words, position + SLOT.highAndPort) >>> 16 === high) {
        return this.#read(position, network, high, low, into)
      }
      position += SLOT_WORDS
      if (position === end) position = base
    }
    return ABSENT
  }

  #read(position: number, network: number, high: number, low: number, into: Route): number {
    const words = this.#words
    const version = Atomics.load(words, position + SLOT.version)
    const presentNetwork = Atomics.load(words, position + SLOT.network)
    const presentLow = Atomics.load(words, position + SLOT.low)
    const highAndPort = Atomics.load(words, position + SLOT.highAndPort)
    const generation = Atomics.load(words, position + SLOT.generation)
    const policy = Atomics.load(words, position + SLOT.policy)
    const service = Atomics.load(words, position + SLOT.service)
    const account = Atomics.load(words, position + SLOT.account)
    into.position = position
    into.version = version
    if ((version & 1) === 1 || Atomics.load(words, position + SLOT.version) !== version) return CHANGING
    // It stands elsewhere by now.
    if (presentNetwork !== network || presentLow !== low || highAndPort >>> 16 !== high) return CHANGING
    if ((policy & POLICY.known) === 0) return UNKNOWN
    into.network = network >>> 0
    into.generation = generation >>> 0
    into.port = highAndPort & 0xffff
    into.kind = KINDS[(policy >>> POLICY.kindShift) & POLICY_KIND_MASK] ?? 'tcp'
    into.tls = TLS[(policy >>> POLICY.tlsShift) & POLICY_TLS_MASK] ?? null
    into.particularTls = (policy & POLICY.particularTls) !== 0
    into.shadow = (policy & POLICY.shadow) !== 0
    into.live = (policy >>> POLICY.liveShift) & POLICY_LIVE_MASK
    into.service = service
    into.account = account
    return FOUND
  }
}

/** What a look along the slots came to. UNKNOWN: it stands there, but its service isn't known (yet). */
const ABSENT = 0
const FOUND = 1
const UNKNOWN = 2
const CHANGING = 3

/** Odd, as the version of something half written. */
const TORN = -1

/** The slot where a search for this hash begins. */
export function homeOf(hash: number, capacity: number): number {
  return Math.floor(((hash >>> 0) * capacity) / 0x1_0000_0000)
}

function byte(address: Ipv6, at: number): number {
  return address[at] ?? 0
}

function word(address: Ipv6, at: number): number {
  return (byte(address, at) << 24) | (byte(address, at + 1) << 16) | (byte(address, at + 2) << 8) | byte(address, at + 3)
}
