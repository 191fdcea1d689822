/**
 * Backups of databases: when they are taken, where they are, how many are kept. The agent of the primary takes a copy and
 * seals it under a key of that backup alone, which it is told for as long as that lasts; the key is kept here, encrypted
 * under credentials.key (envelope encryption). So a node's disk without this store gives nothing away, and a backup whose
 * record is removed is gone, whoever still has the file.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { asNearcastError, NearcastError } from '../../lib/errors.ts'
import { MAX_PART_BYTES } from '../../lib/feed/questions.ts'
import type { Logger } from '../../lib/log.ts'
import { CHUNK_BYTES, chunkCount, openChunk, SEALED_CHUNK_BYTES } from '../../lib/sealed-chunks.ts'
import { askAgent, primaryOf } from './agent-questions.ts'
import type { FeedServer } from './feed/feed-server.ts'
import type { Clock } from './objects/clock.ts'
import type { BackupRecord, ServiceRecord } from './store/records.ts'
import type { Act, Store, StoreReader } from './store/store.ts'
import type { Vault } from './trust/credentials.ts'
import { newId } from './trust/secret-token.ts'

export interface BackupsOptions {
  readonly store: Store
  readonly feed: FeedServer
  readonly vault: Vault
  readonly clock: Clock
  readonly log: Logger
}

/** Of one database, daily ones included. */
export const MAX_BACKUPS = 50
const TAKE_MS = 3_600_000
const PART_MS = 10_000
const DAY_MS = 86_400_000
/** After one that failed. */
const RETRY_MS = 3_600_000
const ACT: Act = { who: 'router', what: 'backup.daily' }

export class Backups {
  readonly #options: BackupsOptions

  constructor(options: BackupsOptions) {
    this.#options = options
    this.#failUnfinished()
  }

  /** Begins one; `whole` resolves when it is ready or has failed. @throws NearcastError redis.backups-full, redis.node-away */
  take(service: ServiceRecord, kind: BackupRecord['kind'], act: Act): { readonly id: string; readonly whole: Promise<void> } {
    const { store, vault, clock, feed } = this.#options
    const node = primaryOf({ feed }, service)
    const id = newId('bak')
    const key = randomBytes(32).toString('hex')
    const { result } = store.write(act, (transaction) => {
      if (transaction.linkedTo('backups', 'services', service.id).length >= MAX_BACKUPS) {
        throw new NearcastError('redis.backups-full', `The database has ${MAX_BACKUPS} backups; remove one.`, { side: 'client' })
      }
      const record: BackupRecord = {
        id,
        org: service.org,
        service: service.id,
        node,
        kind,
        state: 'running',
        createdAt: clock().toISOString(),
        bytes: 0,
        sha256: '',
        sealed: vault.sealText(id, key),
      }
      transaction.put('backups', record)
      return record
    })
    return { id, whole: this.#finish(result, key) }
  }

  /** Those of one database, the newest last. */
  of(service: string): BackupRecord[] {
    return this.#options.store.linkedTo('backups', 'services', service).toSorted((left, right) => (left.createdAt < right.createdAt ? -1 : 1))
  }

  /** Its file goes too, now or, when its agent is away, never: without the key it is noise. */
  async remove(backup: BackupRecord, act: Act): Promise<void> {
    this.#options.store.write(act, (transaction) => transaction.remove('backups', backup.id))
    await this.discard(backup)
  }

  /** What lies there, of a backup whose record is gone. Never rejects: without the key it is noise. */
  async discard({ id, service, node, store }: BackupRecord): Promise<void> {
    const { feed, log } = this.#options
    await askAgent({ feed }, node, 'redis.backup-remove', { service, backup: id, ...(store !== undefined && { store }) }, PART_MS).catch((error: unknown) =>
      log.warn({ backup: id, node, error: asNearcastError(error).message }, 'the file of a removed backup stays where it is; it opens no more'),
    )
  }

  /** Replaces what `target` holds. @throws NearcastError redis.node-away, redis.backup-*, redis.copy-failed */
  async restore(target: ServiceRecord, backup: BackupRecord): Promise<void> {
    const { feed, log } = this.#options
    const node = primaryOf({ feed }, target)
    const { service, id, bytes, sha256, store } = ready(backup)
    const elsewhere = node !== backup.node && store === undefined
    if (elsewhere) await this.#carry(backup, node)
    try {
      await askAgent({ feed }, node, 'redis.restore', { target: target.id, service, backup: id, key: this.#key(backup), bytes, sha256, ...(store !== undefined && { store }) }, TAKE_MS)
    } catch (error) {
      log.warn({ service: target.id, backup: id, error: asNearcastError(error).message }, 'a backup was not restored')
      throw error
    } finally {
      if (elsewhere) await askAgent({ feed }, node, 'redis.backup-remove', { service, backup: id }, PART_MS).catch(() => {})
    }
  }

  /** A part of the RDB. @throws NearcastError redis.backup-*, redis.node-away */
  async content(backup: BackupRecord, offset: number): Promise<{ readonly data: Buffer; readonly next: number | null }> {
    const { id, bytes } = ready(backup)
    const count = chunkCount(bytes)
    const first = Math.min(Math.floor(offset / CHUNK_BYTES), count - 1)
    const sealed = await this.#read(backup, first * SEALED_CHUNK_BYTES)
    const seal = { key: Buffer.from(this.#key(backup), 'hex'), backup: id }
    const parts: Buffer[] = []
    for (let index = first; index < count && (index - first) * SEALED_CHUNK_BYTES < sealed.length; index++) {
      const at = (index - first) * SEALED_CHUNK_BYTES
      parts.push(openChunk(seal, index, index === count - 1, sealed.subarray(at, at + SEALED_CHUNK_BYTES)))
    }
    const data = Buffer.concat(parts).subarray(offset - first * CHUNK_BYTES)
    const next = offset + data.length
    return { data, next: next < bytes ? next : null }
  }

  /** Takes what is due, one after the other, and removes daily ones beyond what is kept. For a timer. */
  async tick(): Promise<void> {
    const { store, log } = this.#options
    for (const service of store.list('services')) {
      const keep = service.redis?.dailyBackups
      if (keep === undefined || !this.#isDue(service.id)) continue
      try {
        const { whole } = this.take(service, 'daily', ACT)
        await whole
        await this.#retain(service.id, keep)
      } catch (error) {
        const { code, message } = asNearcastError(error)
        log.warn({ service: service.id, code, error: message }, 'no daily backup')
      }
    }
  }

  #isDue(service: string): boolean {
    const nowMs = this.#options.clock().getTime()
    const last = this.of(service).findLast(({ kind }) => kind === 'daily')
    return last === undefined || nowMs - Date.parse(last.createdAt) >= (last.state === 'failed' ? RETRY_MS : DAY_MS)
  }

  /** Failed ones count for nothing: what can be restored is kept. */
  async #retain(service: string, keep: number): Promise<void> {
    const daily = this.of(service).filter(({ kind, state }) => kind === 'daily' && state !== 'running')
    const good = daily.filter(({ state }) => state === 'ready')
    const surplus = [...daily.filter(({ state }) => state === 'failed').slice(0, -1), ...good.slice(0, Math.max(0, good.length - keep))]
    for (const backup of surplus) await this.remove(backup, { ...ACT, what: 'backup.expire' })
  }

  async #finish(record: BackupRecord, key: string): Promise<void> {
    const { store, feed, log } = this.#options
    const { id, service } = record
    let change: Partial<BackupRecord>
    try {
      const { bytes, sha256, store: bucket } = await askAgent({ feed }, record.node, 'redis.backup', { service, backup: id, key }, TAKE_MS)
      change = { state: 'ready', bytes, sha256, ...(bucket !== undefined && { store: bucket }) }
    } catch (error) {
      const { code, message } = asNearcastError(error)
      log.warn({ service, backup: id, code, error: message }, 'a backup failed')
      change = { state: 'failed', error: `${code}: ${message}` }
    }
    // It, or its database, may have been removed meanwhile.
    try {
      store.write({ who: 'router', what: 'backup.finish' }, (transaction) => {
        const present = transaction.get('backups', id)
        if (present !== null) transaction.put('backups', { ...present, ...change })
      })
    } catch (error) {
      // On a full disk, or while the router stops: it counts as failed from its next start on.
      log.error({ service, backup: id, error: asNearcastError(error).message }, 'the end of a backup could not be noted')
    }
  }

  /** From the node that has it to another one. */
  async #carry(backup: BackupRecord, to: string): Promise<void> {
    const { feed } = this.#options
    const { service, id } = backup
    for (let offset = 0; ; ) {
      const data = await this.#read(backup, offset)
      const last = data.length < MAX_PART_BYTES
      await askAgent({ feed }, to, 'redis.backup-write', { service, backup: id, offset, data: data.toString('base64'), last }, PART_MS)
      if (last) return
      offset += data.length
      // Others ask over the same connections.
      await delay(0)
    }
  }

  async #read({ node, service, id, store }: BackupRecord, offset: number): Promise<Buffer> {
    const params = { service, backup: id, offset, maxBytes: MAX_PART_BYTES, ...(store !== undefined && { store }) }
    const { data } = await askAgent({ feed: this.#options.feed }, node, 'redis.backup-read', params, PART_MS)
    return Buffer.from(data, 'base64')
  }

  #key({ id, sealed }: BackupRecord): string {
    return this.#options.vault.openText(id, sealed)
  }

  /** A router that ended meanwhile doesn't know how they went. */
  #failUnfinished(): void {
    const { store } = this.#options
    const unfinished = store.list('backups').filter(({ state }) => state === 'running')
    if (unfinished.length === 0) return
    store.write({ who: 'router', what: 'backup.finish' }, (transaction) => {
      for (const backup of unfinished) transaction.put('backups', { ...backup, state: 'failed', error: 'The router was started anew meanwhile.' })
    })
  }
}

/** In one org, of whichever database. @throws NearcastError redis.backup-missing */
export function findBackup(store: StoreReader, org: string, id: string): BackupRecord {
  const backup = store.get('backups', id)
  if (backup?.org === org) return backup
  throw new NearcastError('redis.backup-missing', `The organization has no backup "${id.slice(0, 64)}".`, { side: 'client' })
}

/** @throws NearcastError redis.backup-unfinished */
function ready(backup: BackupRecord): BackupRecord {
  if (backup.state === 'ready') return backup
  throw new NearcastError('redis.backup-unfinished', `The backup ${backup.id} is ${backup.state}${backup.error === undefined ? '' : ` (${backup.error})`}; take another one, or wait.`, { side: 'client' })
}
