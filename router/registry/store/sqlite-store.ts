/**
 * The store on SQLite (node:sqlite): WAL, synchronous FULL, one BEGIN IMMEDIATE transaction per change.
 * Synchronous on purpose: a change is a fraction of a millisecond plus the disk's flush, and no other change can come between.
 */
import { createHash } from 'node:crypto'
import type { SQLInputValue, StatementSync } from 'node:sqlite'
import { DatabaseSync } from 'node:sqlite'
import { NearcastError } from '../../../lib/errors.ts'
import type { HighWater } from './high-water.ts'
import type { Kind, Records } from './records.ts'
import { SHAPES } from './records.ts'
import { APPLICATION_ID, MIGRATIONS, SCHEMA, SCHEMA_VERSION } from './schema.ts'
import type { Act, AuditRow, Commit, RecordChange, Store, StoreTransaction } from './store.ts'

export interface SqliteStoreOptions {
  /** A path, or `:memory:`. */
  readonly file: string
  readonly highWater?: HighWater
  /** The wall clock, for the audit. */
  readonly now?: () => Date
  /** Revisions that the change log keeps: how far back a reader may resume. */
  readonly keepRevisions?: number
  /** For tests of a full disk: SQLite's max_page_count. */
  readonly maxPages?: number
}

type Row = Record<string, string | number | null>

export class SqliteStore implements Store {
  readonly #database: DatabaseSync
  readonly #options: SqliteStoreOptions
  readonly #statements = new Map<string, StatementSync>()
  readonly #listeners: ((commit: Commit) => void)[] = []
  #revision = 0
  /** The running transaction's. */
  #changes = new Map<string, RecordChange>()
  #counters = new Map<string, number>()

  /** @throws NearcastError store.corrupt, store.unavailable */
  constructor(options: SqliteStoreOptions) {
    this.#options = options
    try {
      this.#database = new DatabaseSync(options.file, { timeout: 5000, enableForeignKeyConstraints: true })
      this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF')
      this.#prepareSchema()
      if (options.maxPages !== undefined) this.#database.exec(`PRAGMA max_page_count = ${options.maxPages}`)
      this.#raiseCounters()
      this.#revision = this.#counter('revision')
    } catch (error) {
      throw storeError(error)
    }
  }

  get revision(): number {
    return this.#revision
  }

  get<K extends Kind>(kind: K, key: string): Records[K] | null {
    return this.#records<K>('SELECT body FROM records WHERE kind = ? AND key = ?', kind, key)[0] ?? null
  }

  list<K extends Kind>(kind: K, org?: string): Records[K][] {
    if (org === undefined) return this.#records<K>('SELECT body FROM records WHERE kind = ? ORDER BY number', kind)
    return this.#records<K>('SELECT body FROM records WHERE kind = ? AND org = ? ORDER BY number', kind, org)
  }

  find<K extends Kind>(kind: K, org: string, name: string): Records[K] | null {
    return this.#records<K>('SELECT body FROM records WHERE kind = ? AND org = ? AND name = ?', kind, org, name)[0] ?? null
  }

  linkedTo<K extends Kind>(kind: K, target: Kind, key: string): Records[K][] {
    return this.#records<K>(
      `SELECT body FROM records JOIN links USING (kind, key)
       WHERE target_kind = ? AND target_key = ? AND kind = ? ORDER BY number`,
      target,
      key,
      kind,
    )
  }

  write<Result>(act: Act, work: (transaction: StoreTransaction) => Result): { result: Result; revision: number } {
    this.#changes = new Map()
    this.#counters = new Map()
    let result: Result
    let commit: Commit | null
    try {
      this.#database.exec('BEGIN IMMEDIATE')
      result = work(this.#transaction())
      commit = this.#record(act)
      this.#database.exec('COMMIT')
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK')
      throw storeError(error)
    }
    if (commit !== null) {
      this.#revision = commit.revision
      for (const listener of this.#listeners) listener(commit)
    }
    return { result, revision: this.#revision }
  }

  onCommit(listener: (commit: Commit) => void): void {
    this.#listeners.push(listener)
  }

  changesSince(revision: number): { kind: Kind; key: string }[] | null {
    if (revision > this.#revision || revision < this.#counter('log-floor')) return null
    return this.#all('SELECT DISTINCT kind, key FROM changes WHERE revision > ?', revision) as { kind: Kind; key: string }[]
  }

  audit(after: number, limit: number): AuditRow[] {
    const rows = this.#all('SELECT id, revision, at, who, what, org, kind, key, before, after FROM audit WHERE id > ? ORDER BY id LIMIT ?', after, limit)
    return rows.map((row) => ({ ...row, before: JSON.parse(String(row['before'])), after: JSON.parse(String(row['after'])) }) as AuditRow)
  }

  close(): void {
    if (this.#database.isOpen) this.#database.close()
    this.#options.highWater?.close()
  }

  #transaction(): StoreTransaction {
    return {
      revision: this.#revision,
      nextRevision: this.#revision + 1,
      get: (kind, key) => this.get(kind, key),
      list: (kind, org) => this.list(kind, org),
      find: (kind, org, name) => this.find(kind, org, name),
      linkedTo: (kind, target, key) => this.linkedTo(kind, target, key),
      put: (kind, record) => this.#put(kind, record),
      remove: (kind, key) => this.#remove(kind, key),
      next: (counter) => this.#next(counter),
    }
  }

  #put<K extends Kind>(kind: K, record: Records[K]): void {
    const shape = SHAPES[kind]
    const key = shape.key(record)
    const before = this.get(kind, key)
    const name = shape.name?.(record) ?? null
    this.#run(
      `INSERT INTO records (kind, key, org, name, body) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (kind, key) DO UPDATE SET org = excluded.org, name = excluded.name, body = excluded.body`,
      kind,
      key,
      shape.org?.(record) ?? '',
      name,
      JSON.stringify(record),
    )
    this.#run('DELETE FROM links WHERE kind = ? AND key = ?', kind, key)
    for (const [targetKind, targetKey] of shape.links?.(record) ?? []) {
      this.#run('INSERT OR IGNORE INTO links VALUES (?, ?, ?, ?)', kind, key, targetKind, targetKey)
    }
    this.#note(kind, key, before, record)
  }

  #remove(kind: Kind, key: string): boolean {
    const before = this.get(kind, key)
    if (before === null) return false
    this.#run('DELETE FROM records WHERE kind = ? AND key = ?', kind, key)
    this.#note(kind, key, before, null)
    return true
  }

  #note(kind: Kind, key: string, before: Records[Kind] | null, after: Records[Kind] | null): void {
    const id = `${kind}\0${key}`
    const earlier = this.#changes.get(id)
    this.#changes.set(id, { kind, key, before: earlier === undefined ? before : earlier.before, after })
  }

  #next(counter: string): number {
    const value = this.#counter(counter) + 1
    this.#setCounter(counter, value)
    this.#counters.set(counter, value)
    return value
  }

  /** The bookkeeping of a transaction: numbers to the high-water file, then revision, change log and audit. */
  #record(act: Act): Commit | null {
    const changes = [...this.#changes.values()].filter((change) => change.before !== null || change.after !== null)
    if (changes.length === 0 && this.#counters.size === 0) return null
    const revision = this.#next('revision')
    this.#options.highWater?.raise(Object.fromEntries(this.#counters))
    const at = (this.#options.now?.() ?? new Date()).toISOString()
    for (const change of changes) {
      this.#run('INSERT INTO changes VALUES (?, ?, ?)', revision, change.kind, change.key)
      this.#appendAudit(act, revision, at, change)
    }
    const floor = revision - (this.#options.keepRevisions ?? 10_000)
    if (floor > this.#counter('log-floor')) {
      this.#run('DELETE FROM changes WHERE revision <= ?', floor)
      this.#setCounter('log-floor', floor)
    }
    return { revision, changes }
  }

  #appendAudit(act: Act, revision: number, at: string, { kind, key, before, after }: RecordChange): void {
    const last = this.#all('SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1')[0]
    const shown = kind === 'joinTokens' ? key.slice(0, 8) : key
    const org = kind === 'orgs' ? key : orgOf(after ?? before)
    const values = [Number(last?.['id'] ?? 0) + 1, revision, at, act.who, act.what, org, kind, shown, redact(kind, before), redact(kind, after)]
    this.#run('INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)', ...values, auditHash(String(last?.['hash'] ?? ''), values))
  }

  #prepareSchema(): void {
    const version = Number(this.#all('PRAGMA user_version')[0]?.['user_version'] ?? 0)
    if (version === SCHEMA_VERSION) return
    if (version > SCHEMA_VERSION) {
      throw new NearcastError('store.corrupt', `The store has format ${version}, this program knows ${SCHEMA_VERSION}; use the program that wrote it.`)
    }
    const steps = version === 0 ? SCHEMA : MIGRATIONS.slice(version - 1).join(';\n')
    this.#database.exec(`BEGIN IMMEDIATE; ${steps};
      PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`)
  }

  /**
   * After a restore (or a crash between the high-water file and the commit) the file is ahead. The change log of such a
   * store doesn't tell what readers have seen, so it ends there and they get a snapshot.
   */
  #raiseCounters(): void {
    const behind = [...(this.#options.highWater?.values ?? [])].filter(([name, value]) => value > this.#counter(name))
    if (behind.length === 0) return
    this.#database.exec('BEGIN IMMEDIATE')
    for (const [name, value] of behind) this.#setCounter(name, value)
    this.#run('DELETE FROM changes')
    this.#setCounter('log-floor', this.#counter('revision'))
    this.#database.exec('COMMIT')
  }

  #counter(name: string): number {
    return Number(this.#all('SELECT value FROM counters WHERE name = ?', name)[0]?.['value'] ?? 0)
  }

  #setCounter(name: string, value: number): void {
    this.#run('INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value', name, value)
  }

  #records<K extends Kind>(sql: string, ...values: SQLInputValue[]): Records[K][] {
    return this.#all(sql, ...values).map((row) => JSON.parse(String(row['body'])) as Records[K])
  }

  #all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#statement(sql).all(...values) as Row[]
  }

  #run(sql: string, ...values: SQLInputValue[]): void {
    this.#statement(sql).run(...values)
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      statement = this.#database.prepare(sql)
      this.#statements.set(sql, statement)
    }
    return statement
  }
}

/** Each audit row's hash covers the one before it: a row changed behind our back shows in `store verify`. */
export function auditHash(previous: string, values: readonly SQLInputValue[]): string {
  return createHash('sha256').update(JSON.stringify([previous, ...values])).digest('hex')
}

function orgOf(record: Records[Kind] | null): string {
  return record !== null && 'org' in record ? record.org : ''
}

function redact(kind: Kind, record: Records[Kind] | null): string {
  const secret = SHAPES[kind].secret ?? []
  return JSON.stringify(record, (member, value: unknown) => (secret.includes(member) ? undefined : value))
}

const SQLITE = { busy: 5, ioError: 10, corrupt: 11, full: 13, constraintUnique: 2067, notADatabase: 26 }

export function storeError(error: unknown): unknown {
  if (error instanceof NearcastError || !(error instanceof Error) || !('code' in error)) return error
  const number = 'errcode' in error && typeof error.errcode === 'number' ? error.errcode : 0
  const primary = number & 0xff
  if (error.code === 'ENOSPC' || error.code === 'EDQUOT' || primary === SQLITE.full) {
    return new NearcastError('store.full', 'The disk of the registry is full; nothing was changed. Free some space and try again.', { retryable: true, cause: error })
  }
  if (primary === SQLITE.corrupt || primary === SQLITE.notADatabase) {
    return new NearcastError('store.corrupt', 'The registry is damaged; stop the router and restore a backup.', { cause: error })
  }
  if (number === SQLITE.constraintUnique) return new NearcastError('name.taken', 'That name is taken; choose another.', { side: 'client', cause: error })
  if (primary === SQLITE.busy || primary === SQLITE.ioError || error.code === 'EIO') {
    return new NearcastError('store.unavailable', `The registry can't be written (${error.message}); nothing was changed.`, { retryable: true, cause: error })
  }
  return error
}
