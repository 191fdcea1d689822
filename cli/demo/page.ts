/** The text of one step: kept until it is its turn, so that steps at the same time read as if one followed the other. */
import { colours } from '../colours.ts'

export class Page {
  readonly #print: (line: string) => void
  #kept: string[]
  isOpen = false
  ended = false

  constructor(title: string, print: (line: string) => void) {
    this.#kept = [`\n${colours.bold(title)}`]
    this.#print = print
  }

  write(text: string): void {
    if (this.isOpen) this.#print(text)
    else this.#kept.push(text)
  }

  open(): void {
    this.isOpen = true
    for (const text of this.#kept.splice(0)) this.#print(text)
  }

  end(): void {
    this.ended = true
  }
}

/** The first that isn't open, when all before it have ended; again, while that has ended, too. */
export function openNext(pages: readonly Page[]): void {
  for (const page of pages) {
    if (!page.isOpen) page.open()
    if (!page.ended) return
  }
}
