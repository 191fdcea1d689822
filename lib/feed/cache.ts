/**
 * The last good table on disk: what a program serves from when the router can't be reached. Two files, 0600 (an agent's
 * hold secrets):
 *
 *   <file>           the whole table, replaced by rename after fsync; its first line is the SHA-256 of the rest
 *   <file>.journal   what changed since, a line per revision: SHA-256, space, JSON; its first line names the table's
 *                    checksum, so that a journal of an earlier table is never applied
 *
 * A change is appended and fsynced before it is acknowledged, so whatever a reader has acknowledged it still knows after
 * SIGKILL. A line that was cut ends the journal; what stands before it counts.
 */
import { createHash, randomBytes } from 'node:crypto'
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
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

/** What one revision changed. */
export interface JournalEntry {
  readonly revision: number
  readonly rows: readonly Change[]
}

const cacheFormat = z.object({ format: z.literal(1), revision: z.int().min(0), reader: z.string(), rows: z.array(changeSchema) })
const journalHead = z.object({ format: z.literal(1), table: z.string() })
const journalEntry = z.object({ revision: z.int().min(0), rows: z.array(changeSchema) })

export class FeedCache {
  readonly #file: string
  #journal: { readonly handle: FileHandle; bytes: number } | null = null
  #tableBytes = 0
  #tableChecksum = ''

  constructor(file: string) {
    this.#file = file
  }

  /**
   * null when there is none yet. Rows may name the same key more than once: the last one counts.
   * @throws NearcastError feed.cache-corrupt; the file has then been set aside as `<file>.corrupt`.
   */
  async load(): Promise<CachedTable | null> {
    const text = await this.#read(this.#file)
    if (text === null) return null
    const parsed = cacheFormat.safeParse(parseChecked(text, '\n'))
    if (!parsed.success) {
      const aside = `${this.#file}.corrupt`
      await rename(this.#file, aside).catch(() => undefined)
      throw new NearcastError('feed.cache-corrupt', `${this.#file} is damaged and was set aside as ${aside}; going on without it.`)
    }
    const entries = journalEntries(await this.#read(this.#journalFile), text.slice(0, CHECKSUM_LENGTH))
    const { reader, rows, revision } = parsed.data
    return { reader, rows: [...rows, ...entries.flatMap((entry) => entry.rows)], revision: entries.at(-1)?.revision ?? revision }
  }

  /** The whole table; the journal begins anew. @throws NearcastError feed.cache-unwritable; the files of before then still hold. */
  async save(table: CachedTable): Promise<void> {
    const body = JSON.stringify({ format: 1, ...table })
    const temporary = `${this.#file}.${randomBytes(4).toString('hex')}`
    const sum = checksum(body)
    try {
      await mkdir(dirname(this.#file), { recursive: true, mode: 0o700 })
      const handle = await open(temporary, 'wx', 0o600)
      try {
        await handle.writeFile(`${sum}\n${body}`)
        await handle.sync()
      } finally {
        await handle.close()
      }
      await rename(temporary, this.#file)
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined)
      throw unwritable(this.#file, error)
    }
    await this.close()
    this.#tableChecksum = sum
    this.#tableBytes = body.length
  }

  /** True when the next `append` would make the journal dearer to read than the table: save instead. */
  get journalIsLong(): boolean {
    return this.#tableChecksum === '' || (this.#journal?.bytes ?? 0) > Math.max(SHORT_JOURNAL_BYTES, this.#tableBytes)
  }

  /** What changed since the last `save` or `append`. @throws NearcastError feed.cache-unwritable: save next. */
  async append(entries: readonly JournalEntry[]): Promise<void> {
    const lines = entries.map((entry) => line(JSON.stringify({ revision: entry.revision, rows: entry.rows }))).join('')
    try {
      this.#journal ??= await this.#beginJournal()
      await this.#journal.handle.appendFile(lines)
      await this.#journal.handle.datasync()
      this.#journal.bytes += lines.length
    } catch (error) {
      // Half a line may stand there now: nothing must follow it.
      await this.close()
      this.#tableChecksum = ''
      throw unwritable(this.#journalFile, error)
    }
  }

  /** Idempotent; a later `append` opens the journal again. */
  async close(): Promise<void> {
    const journal = this.#journal
    this.#journal = null
    await journal?.handle.close().catch(() => undefined)
  }

  get #journalFile(): string {
    return `${this.#file}.journal`
  }

  async #beginJournal(): Promise<{ handle: FileHandle; bytes: number }> {
    const handle = await open(this.#journalFile, 'w', 0o600)
    await handle.appendFile(line(JSON.stringify({ format: 1, table: this.#tableChecksum })))
    return { handle, bytes: 0 }
  }

  async #read(file: string): Promise<string | null> {
    try {
      return await readFile(file, 'utf8')
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
      throw new NearcastError('feed.cache-corrupt', `Can't read ${file}; going on without it.`, { cause: error })
    }
  }
}

const RETRY_MS = 5000

interface Pending {
  readonly revision: number
  /** null: the whole table changed. */
  readonly rows: readonly Change[] | null
  readonly written: () => void
}

/** Writes one thing at a time, and what gathers meanwhile together. A full disk is logged and tried again. */
export class CacheWriter {
  readonly #cache: FeedCache
  readonly #log: Logger
  readonly #content: (revision: number) => CachedTable
  #pending: Pending[] = []
  #writing: Promise<void> | undefined
  #retry: NodeJS.Timeout | undefined
  #failed = false
  /** The highest revision that was to be recorded. */
  #revision = 0

  constructor(cache: FeedCache, log: Logger, content: (revision: number) => CachedTable) {
    this.#cache = cache
    this.#log = log
    this.#content = content
  }

  /** Resolves when it is on disk, or could not be written: then it is logged, and the whole table is written later. */
  record(revision: number, rows: readonly Change[] | null): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#revision = revision
    this.#pending.push({ revision, rows, written: resolve })
    this.#writing ??= this.#drain()
    return promise
  }

  async stop(): Promise<void> {
    clearTimeout(this.#retry)
    await this.#writing
    if (this.#failed) await this.record(this.#revision, null)
    clearTimeout(this.#retry)
    await this.#cache.close()
  }

  async #drain(): Promise<void> {
    while (this.#pending.length > 0) {
      const batch = this.#pending
      this.#pending = []
      await this.#write(batch)
      for (const { written } of batch) written()
    }
    this.#writing = undefined
  }

  async #write(batch: readonly Pending[]): Promise<void> {
    const entries = batch.flatMap(({ revision, rows }) => (rows === null ? [] : { revision, rows }))
    const whole = entries.length < batch.length || this.#failed || this.#cache.journalIsLong
    try {
      if (whole) await this.#cache.save(this.#content(this.#revision))
      else await this.#cache.append(entries)
      this.#failed = false
    } catch (error) {
      const { code, message } = asNearcastError(error)
      this.#failed = true
      this.#log.error({ code, error: message }, 'feed: cache not written')
      clearTimeout(this.#retry)
      this.#retry = setTimeout(() => void this.record(this.#revision, null), RETRY_MS)
    }
  }
}

const CHECKSUM_LENGTH = 64
/** A journal up to this size is no burden at start, however small the table. */
const SHORT_JOURNAL_BYTES = 1 << 20

function checksum(body: string): string {
  return createHash('sha256').update(body).digest('hex')
}

function line(body: string): string {
  return `${checksum(body)} ${body}\n`
}

function parseChecked(text: string, separator: string): unknown {
  const body = text.slice(CHECKSUM_LENGTH + 1)
  if (text[CHECKSUM_LENGTH] !== separator || checksum(body) !== text.slice(0, CHECKSUM_LENGTH)) return undefined
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}

/** Up to the first line that doesn't hold. */
function journalEntries(text: string | null, table: string): JournalEntry[] {
  const [first = '', ...lines] = (text ?? '').split('\n')
  const head = journalHead.safeParse(parseChecked(first, ' '))
  if (!head.success || head.data.table !== table) return []
  const entries: JournalEntry[] = []
  for (const each of lines) {
    const entry = journalEntry.safeParse(parseChecked(each, ' '))
    if (!entry.success) break
    entries.push(entry.data)
  }
  return entries
}

function unwritable(file: string, error: unknown): NearcastError {
  const why = error instanceof Error ? error.message : String(error)
  return new NearcastError('feed.cache-unwritable', `Can't write ${file} (${why}); free some space.`, { retryable: true, cause: error })
}
