/**
 * The seam between the registry and its database; test/contract/store.ts is what every store must do.
 *
 * - One writer. `write` runs `work` in one transaction: all of it is committed (and on disk) when `write` returns, or
 *   nothing happened and it throws. Each transaction that changes a record is one revision; revisions only rise.
 * - Every changed record is in the change log and in the audit, which can only grow.
 * - Numbers from `next` are never given twice, not even after a restore of an older backup.
 * - Listeners of `onCommit` are called in order, after the commit, before `write` returns.
 * - The store owns its files; `close` is idempotent.
 */
import type { Kind, Records } from './records.ts'

export interface StoreReader {
  readonly revision: number
  get<K extends Kind>(kind: K, key: string): Records[K] | null
  /** In the order of creation; `org` narrows to one organization's. */
  list<K extends Kind>(kind: K, org?: string): Records[K][]
  find<K extends Kind>(kind: K, org: string, name: string): Records[K] | null
  /** The records of `kind` that link to the record `key` of kind `target`. */
  linkedTo<K extends Kind>(kind: K, target: Kind, key: string): Records[K][]
}

export interface StoreTransaction extends StoreReader {
  /** The revision that this transaction will have. */
  readonly nextRevision: number
  /** Inserts or replaces. @throws NearcastError name.taken; an Error when a link leads nowhere. */
  put<K extends Kind>(kind: K, record: Records[K]): void
  /** @returns whether there was one. Fails while other records link to it. */
  remove(kind: Kind, key: string): boolean
  /** 1, 2, 3 … per counter. */
  next(counter: string): number
}

/** Who does it and what they call it; both go into the audit. */
export interface Act {
  /** `token/<id>`, `router`, `proxy/<id>` */
  readonly who: string
  /** `redis.create` */
  readonly what: string
}

export interface RecordChange {
  readonly kind: Kind
  readonly key: string
  readonly before: Records[Kind] | null
  readonly after: Records[Kind] | null
}

export interface Commit {
  readonly revision: number
  readonly changes: readonly RecordChange[]
}

export interface AuditRow {
  readonly id: number
  readonly revision: number
  readonly at: string
  readonly who: string
  readonly what: string
  readonly org: string
  readonly kind: string
  readonly key: string
  /** Without secrets. */
  readonly before: unknown
  readonly after: unknown
}

export interface Store extends StoreReader {
  /** @throws NearcastError store.full, store.unavailable, store.corrupt, or what `work` throws. */
  write<Result>(act: Act, work: (transaction: StoreTransaction) => Result): { readonly result: Result; readonly revision: number }
  onCommit(listener: (commit: Commit) => void): void
  /** What changed after `revision`, each record once; null when the log doesn't reach back so far (or never was there). */
  changesSince(revision: number): { readonly kind: Kind; readonly key: string }[] | null
  /** Audit rows with an id above `after`. */
  audit(after: number, limit: number): AuditRow[]
  close(): void
}
