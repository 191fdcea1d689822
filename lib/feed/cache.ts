/**
 * The last good table on disk: what a program serves from when the router can't be reached. One file, 0600 (an agent's
 * holds secrets), replaced by rename after fsync; its first line is the SHA-256 of the rest.
 */
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { z } from 'zod'
import { asNearcastError, NearcastError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { Change } from './messages.ts'
import { changeSchema } from './messages.ts'

export interface CachedTable {
  readonly revision: number
  /** SHA-256 of the certificate that the table was read with: another identity has other keys. */
  readonly reader: string
  readonly rows: readonly Change[]
}

const cacheFormat = z.object({ format: z.literal(1), revision: z.int().min(0), reader: z.string(), rows: z.array(changeSchema) })

export class FeedCache {
  readonly #file: string

  constructor(file: string) {
    this.#file = file
  }

  /**
   * null when there is none yet.
   * @throws NearcastError feed.cache-corrupt; the file has then been set aside as `<file>.corrupt`.
   */
  async load(): Promise<CachedTable | null> {
    let text: string
    try {
      text = await readFile(this.#file, 'utf8')
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
      throw new NearcastError('feed.cache-corrupt', `Can't read ${this.#file}; going on without it.`, { cause: error })
    }
    const parsed = cacheFormat.safeParse(parseChecked(text))
    if (parsed.success) return parsed.data
    const aside = `${this.#file}.corrupt`
    await rename(this.#file, aside).catch(() => undefined)
    throw new NearcastError('feed.cache-corrupt', `${this.#file} is damaged and was set aside as ${aside}; going on without it.`)
  }

  /** @throws NearcastError feed.cache-unwritable; the file of before is then untouched. */
  async save(table: CachedTable): Promise<void> {
    const body = JSON.stringify({ format: 1, ...table })
    const temporary = `${this.#file}.${randomBytes(4).toString('hex')}`
    try {
      await mkdir(dirname(this.#file), { recursive: true, mode: 0o700 })
      const handle = await open(temporary, 'wx', 0o600)
      try {
        await handle.writeFile(`${checksum(body)}\n${body}`)
        await handle.sync()
      } finally {
        await handle.close()
      }
      await rename(temporary, this.#file)
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined)
      const why = error instanceof Error ? error.message : String(error)
      throw new NearcastError('feed.cache-unwritable', `Can't write ${this.#file} (${why}); free some space.`, { retryable: true, cause: error })
    }
  }
}

const DEBOUNCE_MS = 100
const RETRY_MS = 5000

/** Writes the cache some time after changes, one write at a time; a full disk is logged and tried again. */
export class CacheWriter {
  readonly #cache: FeedCache
  readonly #log: Logger
  readonly #content: () => CachedTable
  #timer: NodeJS.Timeout | undefined
  #write: Promise<void> = Promise.resolve()
  #failed = false
  #stopped = false

  constructor(cache: FeedCache, log: Logger, content: () => CachedTable) {
    this.#cache = cache
    this.#log = log
    this.#content = content
  }

  schedule(): void {
    if (!this.#stopped) this.#timer ??= setTimeout(() => this.#begin(), this.#failed ? RETRY_MS : DEBOUNCE_MS)
  }

  /** Writes what is still to be written, once. */
  async stop(): Promise<void> {
    this.#stopped = true
    if (this.#timer !== undefined) this.#begin()
    await this.#write
  }

  #begin(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#write = this.#save(this.#write)
  }

  async #save(earlier: Promise<void>): Promise<void> {
    await earlier
    try {
      await this.#cache.save(this.#content())
      this.#failed = false
    } catch (error) {
      const { code, message } = asNearcastError(error)
      this.#failed = true
      this.#log.error({ code, error: message }, 'feed: cache not written')
      this.schedule()
    }
  }
}

function checksum(body: string): string {
  return createHash('sha256').update(body).digest('hex')
}

function parseChecked(text: string): unknown {
  const end = text.indexOf('\n')
  const body = text.slice(end + 1)
  if (end !== 64 || checksum(body) !== text.slice(0, end)) return undefined
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}
