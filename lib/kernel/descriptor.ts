/**
 * A file descriptor with one owner. Numbers are used again at once, so a second close would hit a stranger: whoever gives
 * one away or closes it can't name it any more.
 */
import { closeSync } from 'node:fs'

export class Descriptor {
  #fd: number

  constructor(fd: number) {
    this.#fd = fd
  }

  /** @throws Error when it has been closed or given away */
  get fd(): number {
    if (this.#fd < 0) throw new Error('This descriptor has been closed or given away.')
    return this.#fd
  }

  get isOpen(): boolean {
    return this.#fd >= 0
  }

  /** Another owner closes it from here on. */
  give(): number {
    const { fd } = this
    this.#fd = -1
    return fd
  }

  /** Idempotent. */
  close(): void {
    if (this.#fd >= 0) closeSync(this.give())
  }
}
