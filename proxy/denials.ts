/**
 * Which denials are worth a log line: a few per source network and window; the others are counted, and the count goes out
 * with that network's next line. Bounded, because sources can be forged where nobody guards them. Pure.
 */
export interface DenialSettings {
  readonly windowMs: number
  readonly perWindow: number
  readonly maxSources: number
}

const DEFAULTS: DenialSettings = { windowMs: 10_000, perWindow: 5, maxSources: 1024 }

interface Window {
  startMs: number
  logged: number
  suppressed: number
}

export class Denials {
  readonly #settings: DenialSettings
  readonly #windows = new Map<number, Window>()

  constructor(settings: DenialSettings = DEFAULTS) {
    this.#settings = settings
  }

  /** null: don't log. Otherwise how many of this source were not logged since its last line. `source` 0: no network. */
  admit(source: number, nowMs: number): number | null {
    const { windowMs, perWindow, maxSources } = this.#settings
    let window = this.#windows.get(source)
    if (!window) {
      // The one longest unseen makes room; what it had suppressed is in the metrics still.
      const [oldest] = this.#windows.keys()
      if (this.#windows.size >= maxSources && oldest !== undefined) this.#windows.delete(oldest)
      window = { startMs: nowMs, logged: 0, suppressed: 0 }
    } else {
      this.#windows.delete(source)
      if (nowMs - window.startMs >= windowMs) {
        window.startMs = nowMs
        window.logged = 0
      }
    }
    this.#windows.set(source, window)
    if (window.logged >= perWindow) {
      window.suppressed++
      return null
    }
    window.logged++
    const { suppressed } = window
    window.suppressed = 0
    return suppressed
  }
}
