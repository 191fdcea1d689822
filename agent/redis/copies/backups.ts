/** Backups of this node's databases: taken from running engines, given back to them. One at a time: each is a fork. */
import { connect } from 'node:net'
import { NearcastError } from '../../../lib/errors.ts'
import type { Supervisor } from '../engine/supervisor.ts'
import { REPLICATION_USER } from '../engine/acl.ts'
import type { BackupContent, BackupFiles, BackupPlace } from './backup-files.ts'
import { copyOf } from './replication-stream.ts'

/** An engine that rests starts first. */
const READY_MS = 4000
const SILENCE_MS = 30_000

export class Backups {
  readonly #files: BackupFiles
  readonly #supervisor: (service: string) => Supervisor
  #turn: Promise<unknown> = Promise.resolve()

  /** `supervisor` throws for what isn't here. */
  constructor(files: BackupFiles, supervisor: (service: string) => Supervisor) {
    this.#files = files
    this.#supervisor = supervisor
  }

  /** A copy of the moment in which its engine forks. @throws NearcastError redis.not-answering, redis.copy-failed */
  take(place: BackupPlace, key: Uint8Array): Promise<BackupContent & { readonly storedBytes: number }> {
    return this.#inTurn(async () => {
      const supervisor = this.#supervisor(place.service)
      const path = await supervisor.ready(READY_MS)
      if (path === null) throw new NearcastError('redis.not-answering', 'The database does not answer now; try again in a moment.', { retryable: true })
      const { replicationSecret } = supervisor.specification
      const copy = copyOf({ connect: () => connect({ path }), user: REPLICATION_USER, password: replicationSecret, silenceMs: SILENCE_MS })
      return this.#files.write(place, key, supervisor.copying(copy))
    })
  }

  /** Replaces all that `target` holds. The backup is read twice: what is damaged is found before anything is replaced. */
  restore(target: string, place: BackupPlace, key: Uint8Array, content: BackupContent): Promise<void> {
    return this.#inTurn(async () => {
      const supervisor = this.#supervisor(target)
      for await (const _checked of this.#files.read(place, key, content));
      await supervisor.takeCopy({ bytes: content.bytes, pieces: () => this.#files.read(place, key, content) })
    })
  }

  #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => {})
    return result
  }
}
