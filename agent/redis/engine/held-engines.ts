/**
 * Engines that have a processor to themselves for long, held back for their neighbours' sake: they keep their share, but whoever
 * else on the node has something to do goes first (lib/kernel/scheduling.ts). An engine that is alone loses nothing by it.
 *
 * Only engines with open connections are looked at, and those held, the more of them the more rarely. Owns its timer, and what
 * engines are held back by: an agent that ends releases them all, and what one that was killed has held the next one
 * releases when it meets it.
 */
import { EngineLoad } from './engine-load.ts'

export interface HeldEnginesOptions {
  /** Services with open connections. */
  readonly used: () => Iterable<string>
  /** Of a service's engine; null: it doesn't run. */
  readonly pidOf: (service: string) => number | null
  /** Of a process; null: it has ended. */
  readonly processorMs: (pid: number) => number | null
  /** @returns false when this agent may not, or the process has ended. */
  readonly setPatience: (pid: number, patient: boolean) => boolean
  readonly nowMs: () => number
  /** This agent may not hold engines back. Said once. */
  readonly refused: () => void
}

interface Known {
  readonly pid: number
  readonly load: EngineLoad
}

/** Between two looks: long enough to cost nothing, short enough for a neighbour's patience. */
const LOOK_MS = 50
const LOOK_MS_EACH = 0.5
/** Nobody uses any. */
const IDLE_MS = 500

export class HeldEngines {
  readonly #options: HeldEnginesOptions
  readonly #known = new Map<string, Known>()
  /** By loads that aren't known any more. */
  readonly #heldMs = new Map<string, number>()
  #refused = false
  #timer: NodeJS.Timeout | undefined

  constructor(options: HeldEnginesOptions) {
    this.#options = options
  }

  /** Looks again and again. */
  start(): void {
    const pauseMs = this.#known.size === 0 ? IDLE_MS : LOOK_MS + LOOK_MS_EACH * this.#known.size
    this.#timer = setTimeout(() => {
      this.look()
      this.start()
    }, pauseMs).unref()
  }

  /** Idempotent. */
  stop(): void {
    clearTimeout(this.#timer)
    for (const service of this.#known.keys()) this.#leave(service)
  }

  isHeld(service: string): boolean {
    return this.#known.get(service)?.load.held ?? false
  }

  /** Since this agent started. */
  heldMs(service: string): number {
    return (this.#heldMs.get(service) ?? 0) + (this.#known.get(service)?.load.heldMs(this.#options.nowMs()) ?? 0)
  }

  /** Its database isn't here any more. */
  forget(service: string): void {
    this.#leave(service)
    this.#heldMs.delete(service)
  }

  look(): void {
    const { used, pidOf } = this.#options
    const wanted = new Set(used())
    for (const [service, { pid, load }] of this.#known) if (pidOf(service) !== pid || !(load.held || wanted.has(service))) this.#leave(service)
    for (const service of new Set([...wanted, ...this.#known.keys()])) this.#lookAt(service)
  }

  #lookAt(service: string): void {
    const { pidOf, processorMs, setPatience, nowMs, refused } = this.#options
    const pid = pidOf(service)
    const usedMs = pid === null ? null : processorMs(pid)
    if (pid === null || usedMs === null) return
    const look = { nowMs: nowMs(), usedMs }
    const known = this.#known.get(service)
    if (known === undefined) {
      if (setPatience(pid, false)) this.#known.set(service, { pid, load: new EngineLoad(look) })
      else if (!this.#refused && processorMs(pid) !== null) {
        this.#refused = true
        refused()
      }
      return
    }
    const wish = known.load.look(look)
    if (wish !== null) setPatience(pid, wish === 'hold')
  }

  #leave(service: string): void {
    const known = this.#known.get(service)
    if (known === undefined) return
    this.#known.delete(service)
    this.#heldMs.set(service, (this.#heldMs.get(service) ?? 0) + known.load.heldMs(this.#options.nowMs()))
    if (known.load.held) this.#options.setPatience(known.pid, false)
  }
}
