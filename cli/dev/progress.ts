/** What is being started: one line that is rewritten on a terminal, plain lines elsewhere. Standard error. */
const CLEAR = '\r\u001b[2K'

export class Progress {
  readonly #stream: NodeJS.WriteStream
  readonly #live: boolean
  readonly #startMs = performance.now()

  constructor(stream: NodeJS.WriteStream, plain: boolean) {
    this.#stream = stream
    this.#live = !plain && stream.isTTY
  }

  step(text: string): void {
    const seconds = ((performance.now() - this.#startMs) / 1000).toFixed(1)
    if (this.#live) this.#stream.write(`${CLEAR}${seconds} s  ${text} …`)
    else this.#stream.write(`${seconds} s  ${text}\n`)
  }

  /** A line that stays. */
  notice(text: string): void {
    this.#stream.write(`${this.#live ? CLEAR : ''}${text}\n`)
  }

  done(): void {
    if (this.#live) this.#stream.write(CLEAR)
  }
}
