/**
 * Standard output for log lines, written at once. What can't be written (a full disk, a reader that is gone) is dropped
 * and counted, and the count goes out with the next line that can be: a log never stops its program.
 */
import { writeSync } from 'node:fs'

const STDOUT = 1

export class StandardOutput {
  readonly #fd: number
  #lost = 0
  /** A line was cut in the middle: the next one begins on a line of its own. */
  #torn = false

  constructor(fd = STDOUT) {
    this.#fd = fd
  }

  /** `line` ends with a line end. Never throws. */
  write(line: string): void {
    const note = this.#lost === 0 ? '' : `${JSON.stringify({ level: 40, msg: 'log lines lost', lost: this.#lost })}\n`
    const bytes = Buffer.from(`${this.#torn ? '\n' : ''}${note}${line}`)
    let written = 0
    try {
      while (written < bytes.length) written += writeSync(this.#fd, bytes, written)
      this.#lost = 0
      this.#torn = false
    } catch {
      this.#lost++
      this.#torn ||= written > 0
    }
  }
}
