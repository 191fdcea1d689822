/** Backups of this node's databases: taken from running engines, given back to them. One at a time: each is a fork. */
import { connect } from 'node:net'
import { NearcastError } from '../../../lib/errors.ts'
import type { Supervisor } from '../engine/supervisor.ts'
import { REPLICATION_USER } from '../engine/acl.ts'
import type { BackupContent, BackupPlace, BackupStorage } from './backup-storage.ts'
import { readBackup, writeBackup } from './backup-storage.ts'
import { copyOf } from './replication-stream.ts'

/** An engine that rests starts first. */
const READY_MS = 4000
const SILENCE_MS = 30_000

export interface BackupsOptions {
  readonly files: BackupStorage
  /** Where new ones go; null: to `files`. */
  readonly bucket: BackupStorage | null
  /** @throws NearcastError for what isn't here */
  readonly supervisor: (service: string) => Supervisor
}

export class Backups {
  readonly #options: BackupsOptions
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: BackupsOptions) {
    this.#options = options
  }

  /** A copy of the moment in which its engine forks. @throws NearcastError redis.not-answering, redis.copy-failed, redis.backup-store */
  take(place: BackupPlace, key: Uint8Array): Promise<BackupContent & { readonly storedBytes: number; readonly store?: string }> {
    return this.#inTurn(async () => {
      const { files, bucket } = this.#options
      const supervisor = this.#options.supervisor(place.service)
      const path = await supervisor.ready(READY_MS)
      if (path === null) throw new NearcastError('redis.not-answering', 'The database does not answer now; try again in a moment.', { retryable: true })
      const { replicationSecret } = supervisor.specification
      const copy = copyOf({ connect: () => connect({ path }), user: REPLICATION_USER, password: replicationSecret, silenceMs: SILENCE_MS })
      const taken = await writeBackup(bucket ?? files, place, key, supervisor.copying(copy))
      return { ...taken, ...(bucket?.name && { store: bucket.name }) }
    })
  }

  /** Replaces all that `target` holds. The backup is read twice: what is damaged is found before anything is replaced. */
  restore(target: string, place: BackupPlace, key: Uint8Array, content: BackupContent, store?: string): Promise<void> {
    return this.#inTurn(async () => {
      const supervisor = this.#options.supervisor(target)
      const storage = this.at(store)
      for await (const _checked of readBackup(storage, place, key, content));
      await supervisor.takeCopy({ bytes: content.bytes, pieces: () => readBackup(storage, place, key, content) })
    })
  }

  /** `store`: as the registry names it; undefined: this node's disk. @throws NearcastError redis.backup-missing */
  at(store: string | undefined): BackupStorage {
    const { files, bucket } = this.#options
    if (store === undefined) return files
    if (store === bucket?.name) return bucket
    throw new NearcastError('redis.backup-missing', `The backup lies in ${store}; redis.backupBucket of this node names ${bucket?.name ?? 'nothing'}.`)
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => {})
    return result
  }
}
