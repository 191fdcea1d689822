/**
 * Rates, on every plane: one token bucket per name and direction, shared by the connections carried under that name.
 *
 * A chunk that has been read always passes, and may leave the bucket in debt; then its connection isn't read until the
 * debt is paid and its turn has come (first come, first served). So senders feel back-pressure, nothing is dropped, and
 * the mean holds. Nobody waits in a bucket that isn't theirs: a tenant at its limit costs others nothing. Decides only who
 * may read; sockets are the carriage's.
 */
import { TokenBucket } from '../token-bucket.ts'
import type { Rate, RateWaits } from './plane.ts'

export type Direction = 'up' | 'down'

/** What a bucket saves up, in seconds of its rate. */
const BURST_SECONDS = 0.1
/** What one turn may read at once: the most that a plane reads from a socket. */
const TURN_BYTES = 64 * 1024
/** Timers are no finer. */
const SHORTEST_WAIT_MS = 1

class Queue {
  readonly #bucket: TokenBucket
  readonly #waiting = new Set<() => void>()
  #timer: NodeJS.Timeout | undefined
  waits = 0

  constructor(bytesPerSecond: number) {
    this.#bucket = new TokenBucket(bytesPerSecond, bytesPerSecond * BURST_SECONDS, performance.now())
  }

  change(bytesPerSecond: number): void {
    this.#bucket.change(bytesPerSecond, bytesPerSecond * BURST_SECONDS, performance.now())
    if (this.#waiting.size > 0) this.#arm()
  }

  take(bytes: number): void {
    this.#bucket.take(bytes, performance.now())
  }

  get inDebt(): boolean {
    return this.#bucket.balance(performance.now()) < 0
  }

  /** In debt, or others were here before. */
  get closed(): boolean {
    return this.#waiting.size > 0 || this.inDebt
  }

  wait(turn: () => void): void {
    this.waits++
    this.#waiting.add(turn)
    if (this.#timer === undefined) this.#arm()
  }

  leave(turn: () => void): void {
    this.#waiting.delete(turn)
    if (this.#waiting.size > 0) return
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** The rate ends: everybody's turn. */
  end(): void {
    clearTimeout(this.#timer)
    for (const turn of this.#waiting) turn()
    this.#waiting.clear()
  }

  #arm(): void {
    clearTimeout(this.#timer)
    const waitMs = Math.max(SHORTEST_WAIT_MS, Math.ceil(this.#bucket.msUntil(0, performance.now())))
    this.#timer = setTimeout(() => this.#onTimer(), waitMs)
  }

  /** As many turns as the balance pays for: one that finds nothing to read must not hold up those behind it. */
  #onTimer(): void {
    this.#timer = undefined
    const balance = this.#bucket.balance(performance.now())
    let turns = balance < 0 ? 0 : Math.max(1, Math.floor(balance / TURN_BYTES))
    for (const turn of this.#waiting) {
      if (turns-- <= 0) break
      this.#waiting.delete(turn)
      turn()
    }
    if (this.#waiting.size > 0) this.#arm()
  }
}

export class Rates {
  readonly #queues = new Map<string, { [Each in Direction]: Queue | null }>()

  /** @returns whether a name has got its first rate, or lost its last. */
  set(name: string, rate: Rate | null): boolean {
    const { bytesPerSecondUp: up, bytesPerSecondDown: down } = rate ?? {}
    const before = this.#queues.get(name)
    const after = { up: changed(before?.up ?? null, up), down: changed(before?.down ?? null, down) }
    if (after.up || after.down) this.#queues.set(name, after)
    else this.#queues.delete(name)
    // Only now: whose turn comes looks for the queue that is in force.
    for (const direction of ['up', 'down'] as const) if (before?.[direction] !== after[direction]) before?.[direction]?.end()
    return (before === undefined) !== !this.#queues.has(name)
  }

  /** Nobody has a rate. */
  get isEmpty(): boolean {
    return this.#queues.size === 0
  }

  queue(name: string, direction: Direction): Queue | null {
    return this.#queues.get(name)?.[direction] ?? null
  }

  waits(name: string): RateWaits | null {
    const queues = this.#queues.get(name)
    return queues ? { up: queues.up?.waits ?? 0, down: queues.down?.waits ?? 0 } : null
  }

  /** null: nothing to ask, ever. */
  gate(names: readonly string[], direction: Direction): Gate | null {
    return names.length === 0 ? null : new Gate(this, names, direction)
  }
}

function changed(queue: Queue | null, bytesPerSecond: number | undefined): Queue | null {
  if (bytesPerSecond === undefined) return null
  if (queue === null) return new Queue(bytesPerSecond)
  queue.change(bytesPerSecond)
  return queue
}

/** One direction of one connection: under several names it waits for all of them. */
export class Gate {
  readonly #rates: Rates
  readonly #names: readonly string[]
  readonly #direction: Direction
  #waitingIn: Queue | null = null
  /** Called when it opens again. */
  onOpen: () => void = () => undefined

  constructor(rates: Rates, names: readonly string[], direction: Direction) {
    this.#rates = rates
    this.#names = names
    this.#direction = direction
  }

  /** Counts what was read. @returns whether more may be read; if not, `onOpen` follows. */
  pass(bytes: number): boolean {
    if (this.#rates.isEmpty && this.#waitingIn === null) return true
    if (bytes > 0) for (const name of this.#names) this.#rates.queue(name, this.#direction)?.take(bytes)
    return this.#isOpen(false)
  }

  hasName(name: string): boolean {
    return this.#names.includes(name)
  }

  /** Whether any of its names has a rate now. */
  get limits(): boolean {
    return !this.#rates.isEmpty && this.#names.some((name) => this.#rates.queue(name, this.#direction) !== null)
  }

  get waiting(): boolean {
    return this.#waitingIn !== null
  }

  /** The connection is over. */
  close(): void {
    this.#waitingIn?.leave(this.#turn)
    this.#waitingIn = null
    this.onOpen = () => undefined
  }

  readonly #turn = (): void => {
    this.#waitingIn = null
    if (this.#isOpen(true)) this.onOpen()
  }

  /** `turn`: it is ours in the queue that we waited in; those behind us don't count there. */
  #isOpen(turn: boolean): boolean {
    if (this.#waitingIn !== null) return false
    for (const name of this.#names) {
      const queue = this.#rates.queue(name, this.#direction)
      if (queue === null || !(turn ? queue.inDebt : queue.closed)) continue
      this.#waitingIn = queue
      queue.wait(this.#turn)
      return false
    }
    return true
  }
}
