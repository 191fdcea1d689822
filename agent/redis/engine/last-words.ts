/**
 * What an engine says on its standard output and error: the last lines are kept, for the reason of its end.
 *
 * A tenant's script may write to that log as fast as it likes (`redis.log`). It is read at a rate that costs this agent
 * nothing; beyond that the pipe is full, and the engine, which is that tenant's own, waits.
 */
import type { Readable } from 'node:stream'

const LINES = 20
const MAX_LINE_CHARACTERS = 400
/** More than an engine says from its start to its end when nothing is wrong, and less than a millisecond's work. */
const BURST_CHARACTERS = 64 * 1024
const PAUSE_MS = 100

export class LastWords {
  readonly #lines: string[] = []
  readonly #heard: () => void

  /** `heard`: something was said. */
  constructor(heard: () => void) {
    this.#heard = heard
  }

  get lines(): readonly string[] {
    return this.#lines
  }

  listen(stream: Readable): void {
    let budget = BURST_CHARACTERS
    stream.setEncoding('utf8')
    stream.on('data', (text: string) => {
      this.#keep(text)
      budget -= text.length
      if (budget > 0) return
      stream.pause()
      setTimeout(() => {
        budget = BURST_CHARACTERS
        stream.resume()
      }, PAUSE_MS)
    })
  }

  #keep(text: string): void {
    for (const line of text.slice(-BURST_CHARACTERS).split('\n')) if (line.trim() !== '') this.#lines.push(line.slice(0, MAX_LINE_CHARACTERS))
    this.#lines.splice(0, this.#lines.length - LINES)
    this.#heard()
  }
}
