/**
 * Turns for forks. An engine that writes its file anew, or sends a whole copy, forks: every page that is written meanwhile
 * exists twice. So only so many fork at a time on a node, and only while there is memory for the worst of all of them.
 */
import { readFileSync } from 'node:fs'

export interface ForkTurnsOptions {
  readonly atOnce: number
  /** What the machine has left. */
  readonly availableBytes: () => number
}

interface Waiting {
  readonly bytes: number
  readonly go: (release: () => void) => void
}

/** Memory comes back without a word. */
const LOOK_AGAIN_MS = 1000

export class ForkTurns {
  readonly #options: ForkTurnsOptions
  readonly #waiting = new Set<Waiting>()
  #running = 0
  #reservedBytes = 0
  #timer: NodeJS.Timeout | undefined

  constructor(options: ForkTurnsOptions) {
    this.#options = options
  }

  get running(): number {
    return this.#running
  }

  get waiting(): number {
    return this.#waiting.size
  }

  /**
   * Resolves when an engine of so many bytes may fork; who doesn't fit lets others pass who do. @returns gives it back, idempotent;
   * null when `signal` came first
   */
  take(bytes: number, signal: AbortSignal): Promise<(() => void) | null> {
    if (signal.aborted) return Promise.resolve(null)
    const { promise, resolve } = Promise.withResolvers<(() => void) | null>()
    const waiting: Waiting = { bytes, go: resolve }
    signal.addEventListener('abort', () => {
      if (this.#waiting.delete(waiting)) resolve(null)
    }, { once: true })
    this.#waiting.add(waiting)
    this.#grant()
    return promise
  }

  /** For one that Redis began by itself: it counts, whether there was room or not. */
  claim(bytes: number): () => void {
    this.#running++
    this.#reservedBytes += bytes
    let over = false
    return () => {
      if (over) return
      over = true
      this.#running--
      this.#reservedBytes -= bytes
      this.#grant()
    }
  }

  #grant(): void {
    clearTimeout(this.#timer)
    for (const waiting of this.#waiting) {
      if (this.#running >= this.#options.atOnce) return
      if (this.#options.availableBytes() - this.#reservedBytes < waiting.bytes) continue
      this.#waiting.delete(waiting)
      waiting.go(this.claim(waiting.bytes))
    }
    if (this.#waiting.size > 0) this.#timer = setTimeout(() => this.#grant(), LOOK_AGAIN_MS).unref()
  }
}

/** Of the whole machine, without swapping. Infinity where the kernel doesn't say. */
export function memoryAvailable(): number {
  try {
    const kilobytes = /^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]
    return kilobytes === undefined ? Infinity : Number(kilobytes) * 1024
  } catch {
    return Infinity
  }
}
