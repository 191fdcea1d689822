/**
 * The routes as data threads read them: Flycast address -> service, policy, candidates, out of shared memory, without
 * locks, without allocating, never half written. The control thread writes them (route-table-writer.ts).
 *
 * A reader takes nothing for true that changed while it looked: a slot by its version, a miss by the count of moves, both
 * by the directory, which says what region of slots is in force. It waits only for the few stores that a writer is in the
 * middle of. Looks by WebAssembly (look-up.ts). Pure: no sockets, no clock, no logger.
 */
import type { Ipv6 } from '../../lib/address.ts'
import { CONTROL, MAX_CANDIDATES, MAX_NAMES_BYTES, MAX_SERVICE_ID_BYTES, NAMES, POLICY, POLICY_KIND_MASK, POLICY_LIVE_MASK, POLICY_TLS_MASK, SERVICE_ID_BITS, SET, SLOT } from './layout.ts'
import { FOUND, lookUpIn, OWN, UNREST } from './look-up.ts'
import type { LookUp } from './look-up.ts'
import { pauseOn, sharedWords } from './shared-words.ts'
import type { SharedWords } from './shared-words.ts'
import type { Memory } from './web-assembly.ts'

/** Goes to any thread by postMessage or workerData. */
export interface RouteTableHandle {
  readonly memory: Memory
}

export type RouteKind = 'redis' | 'tcp' | 'postgres'
export type RouteTls = 'terminate' | 'passthrough' | 'auto'
/** The head of a service's record, and the longest id. */
const RECORD_WORDS = 1 + MAX_SERVICE_ID_BYTES / 4
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
  /** Where its names stand. */
  names = 0
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
  /** What the registry says of its nodes, in its order (candidates.ts): the first `count`. */
  readonly nodes = new Int32Array(MAX_CANDIDATES)
  count = 0
}

export class RouteTable {
  readonly #words: SharedWords
  readonly #lookUp: LookUp
  /** What the look-up has read: this thread's alone. */
  readonly #own: Int32Array
  readonly #ownBytes: Uint8Array
  readonly #decoder = new TextDecoder()
  readonly #prefix: number
  readonly #key0: number
  readonly #key1: number

  constructor({ memory }: RouteTableHandle) {
    this.#words = sharedWords(memory)
    this.#lookUp = lookUpIn(memory)
    this.#own = new Int32Array(this.#lookUp.own.buffer)
    this.#ownBytes = new Uint8Array(this.#lookUp.own.buffer)
    this.#prefix = Atomics.load(this.#words, CONTROL.prefix)
    this.#key0 = Atomics.load(this.#words, CONTROL.key0)
    this.#key1 = Atomics.load(this.#words, CONTROL.key1)
  }

  /** Whether this address is in force, whatever the port; then `into` says as what. */
  find(address: Ipv6, into: Route): boolean {
    const low = word(address, 12)
    const high = (byte(address, 10) << 8) | byte(address, 11)
    // The host part of Flycast addresses is 1, and their number isn't 0.
    if (((byte(address, 0) << 8) | byte(address, 1)) !== this.#prefix || word(address, 6) !== 1 || (low === 0 && high === 0)) return false
    return this.#find(word(address, 2), high, low) && this.#read(into)
  }

  /**
   * Service and candidates of a route that was just found. @returns false when the route isn't in force any more, or
   * stands elsewhere: find it again, and decide anew.
   */
  follow(route: Route, into: Target): boolean {
    const { service } = route
    for (let turn = 0; ; turn++) {
      // Read from what may be something else by now; the last look decides.
      if (service <= 0 || service + RECORD_WORDS > this.#words.length) return false
      this.#lookUp.copy(service, RECORD_WORDS)
      const head = this.#own[OWN.copied] ?? 0
      const set = (head >>> SERVICE_ID_BITS) * 2
      this.#readId(head, into)
      const whole = this.#readCandidates(set, into) && Atomics.load(this.#words, service) === head && Atomics.load(this.#words, set + SET.version) === this.#own[OWN.copied]
      if (!this.inForce(route)) return false
      if (whole) return true
      pauseOn(this.#words, service, head, turn)
    }
  }

  /** What the service of a route that was just found is called, as JSON; null when the route isn't in force any more. */
  names(route: Route): string | null {
    const { names } = route
    const bytes = Math.min(Atomics.load(this.#words, names + NAMES.bytes) >>> 0, MAX_NAMES_BYTES)
    const words = NAMES.text + Math.ceil(bytes / 4)
    if (names <= 0 || names + words > this.#words.length) return null
    this.#lookUp.copy(names, words)
    if (!this.inForce(route)) return null
    const start = (OWN.copied + NAMES.text) * 4
    return this.#decoder.decode(this.#ownBytes.subarray(start, start + bytes))
  }

  /** Whether nothing has changed at that address since it was found, as far as a reader can tell. */
  inForce(route: Route): boolean {
    return Atomics.load(this.#words, route.position + SLOT.version) === route.version && Atomics.load(this.#words, CONTROL.directory) === route.directory
  }

  #find(network: number, high: number, low: number): boolean {
    for (let turn = 0; ; turn++) {
      const found = this.#lookUp.find(this.#key0, this.#key1, network, high, low)
      if (found !== UNREST) return found === FOUND
      pauseOn(this.#words, this.#own[OWN.unrestAt] ?? 0, this.#own[OWN.unrestValue] ?? 0, turn)
    }
  }

  /** The slot that was found, out of the own memory. @returns false: its service isn't known (yet). */
  #read(into: Route): boolean {
    const own = this.#own
    const policy = own[SLOT.policy] ?? 0
    if ((policy & POLICY.known) === 0) return false
    into.network = (own[SLOT.network] ?? 0) >>> 0
    into.generation = (own[SLOT.generation] ?? 0) >>> 0
    into.port = (own[SLOT.highAndPort] ?? 0) & 0xffff
    into.kind = KINDS[(policy >>> POLICY.kindShift) & POLICY_KIND_MASK] ?? 'tcp'
    into.tls = TLS[(policy >>> POLICY.tlsShift) & POLICY_TLS_MASK] ?? null
    into.particularTls = (policy & POLICY.particularTls) !== 0
    into.shadow = (policy & POLICY.shadow) !== 0
    into.live = (policy >>> POLICY.liveShift) & POLICY_LIVE_MASK
    into.service = own[SLOT.service] ?? 0
    into.names = own[SLOT.names] ?? 0
    into.position = own[OWN.position] ?? 0
    into.version = own[SLOT.version] ?? 0
    into.directory = own[OWN.directory] ?? 0
    return true
  }

  #readId(head: number, into: Target): void {
    into.serviceBytes = Math.min(head & ((1 << SERVICE_ID_BITS) - 1), MAX_SERVICE_ID_BYTES)
    const start = (OWN.copied + 1) * 4
    for (let index = 0; index < into.serviceBytes; index++) into.service[index] = this.#ownBytes[start + index] ?? 0
  }

  /** @returns false when it was being written. */
  #readCandidates(set: number, into: Target): boolean {
    if (set + SET.nodes + MAX_CANDIDATES > this.#words.length) return false
    const count = Math.min(Atomics.load(this.#words, set + SET.count) >>> 0, MAX_CANDIDATES)
    this.#lookUp.copy(set, SET.nodes + count)
    const start = OWN.copied + SET.nodes
    for (let index = 0; index < count; index++) into.nodes[index] = this.#own[start + index] ?? 0
    into.count = count
    return ((this.#own[OWN.copied] ?? 1) & 1) === 0 && this.#own[OWN.copied + SET.count] === count
  }
}

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
