/**
 * The highest numbers ever handed out, in a file of their own beside the store.
 *
 * A restored backup knows only the numbers of its day. This file is not restored: each transaction appends its numbers
 * here, on disk, BEFORE it commits, and an opening store raises itself above them. So a number may be skipped, but an
 * address, generation or revision is never given to two owners. One JSON line per transaction; a torn last line was
 * never used (the append failed) and is cut off.
 */
import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { z } from 'zod'
import { NearcastError } from '../../../lib/errors.ts'

/** The revision counter is one of them: `revision`. */
export type Counters = Readonly<Record<string, number>>

const line = z.record(z.string(), z.int().min(0))
const COMPACT_BYTES = 256 * 1024

export class HighWater {
  readonly #file: string
  readonly #values = new Map<string, number>()
  #fd: number
  #length: number

  /** @throws NearcastError store.corrupt */
  constructor(file: string) {
    this.#file = file
    this.#fd = openSync(file, 'a+', 0o600)
    const text = readFileSync(file, 'utf8')
    const end = text.lastIndexOf('\n') + 1
    for (const entry of text.slice(0, end).split('\n')) if (entry !== '') this.#note(parseLine(file, entry))
    this.#length = Buffer.byteLength(text.slice(0, end))
    if (fstatSync(this.#fd).size > this.#length) ftruncateSync(this.#fd, this.#length)
    if (this.#length > COMPACT_BYTES) this.#compact()
  }

  get values(): ReadonlyMap<string, number> {
    return this.#values
  }

  /** On disk when it returns. @throws what the file system throws (ENOSPC …); the file is then as before. */
  raise(counters: Counters): void {
    const entry = Buffer.from(`${JSON.stringify(counters)}\n`)
    try {
      if (writeSync(this.#fd, entry) !== entry.length) throw Object.assign(new Error('the disk is full'), { code: 'ENOSPC' })
      fsyncSync(this.#fd)
    } catch (error) {
      ftruncateSync(this.#fd, this.#length)
      throw error
    }
    this.#length += entry.length
    this.#note(counters)
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd)
    this.#fd = -1
  }

  #note(counters: Counters): void {
    for (const [name, value] of Object.entries(counters)) this.#values.set(name, Math.max(value, this.#values.get(name) ?? 0))
  }

  #compact(): void {
    const temporary = `${this.#file}.new`
    const fd = openSync(temporary, 'w', 0o600)
    const text = `${JSON.stringify(Object.fromEntries(this.#values))}\n`
    writeSync(fd, text)
    fsyncSync(fd)
    closeSync(fd)
    renameSync(temporary, this.#file)
    const directory = openSync(dirname(this.#file), 'r')
    fsyncSync(directory)
    closeSync(directory)
    closeSync(this.#fd)
    this.#fd = openSync(this.#file, 'a+')
    this.#length = Buffer.byteLength(text)
  }
}

function parseLine(file: string, entry: string): Counters {
  try {
    return line.parse(JSON.parse(entry))
  } catch (error) {
    throw new NearcastError('store.corrupt', `${file} is damaged; without it numbers could be given twice. Restore it from a copy.`, { cause: error })
  }
}
