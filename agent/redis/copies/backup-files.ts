/**
 * Backups on this node's disk: sealed chunks and nothing else, 0600.
 *
 *   <directory>/<service>/<backup>        whole, synced to disk before it has this name
 *   <directory>/<service>/<backup>.part   being written
 */
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { NearcastError } from '../../../lib/errors.ts'
import type { BackupPlace, BackupStorage } from './backup-storage.ts'
import { checkPlace } from './backup-storage.ts'

const PART = '.part'

export class BackupFiles implements BackupStorage {
  readonly name = null
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  async write(place: BackupPlace, chunks: AsyncIterable<Buffer>): Promise<void> {
    const path = this.#path(place)
    await mkdir(join(this.#directory, place.service), { recursive: true, mode: 0o700 })
    const file = await open(`${path}${PART}`, 'w', 0o600)
    try {
      for await (const chunk of chunks) await file.writeFile(chunk)
      await file.sync()
      await rename(`${path}${PART}`, path)
    } catch (error) {
      await rm(`${path}${PART}`, { force: true })
      throw error
    } finally {
      await file.close()
    }
  }

  async readStored(place: BackupPlace, offset: number, maxBytes: number): Promise<Buffer> {
    const file = await open(this.#path(place), 'r').catch((error: unknown) => {
      throw new NearcastError('redis.backup-missing', `The file of the backup ${place.backup} isn't on this node.`, { cause: error })
    })
    try {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(maxBytes), 0, maxBytes, offset)
      return buffer.subarray(0, bytesRead)
    } finally {
      await file.close()
    }
  }

  /** Sealed bytes from another node, in order; the one at `offset` 0 begins anew. `last`: it has its name from now on. */
  async writeStored(place: BackupPlace, offset: number, bytes: Uint8Array, last: boolean): Promise<void> {
    const path = `${this.#path(place)}${PART}`
    await mkdir(join(this.#directory, place.service), { recursive: true, mode: 0o700 })
    if (offset > 0 && (await stat(path)).size !== offset) throw new NearcastError('redis.backup-damaged', 'A part of a backup came out of turn; try again.', { retryable: true })
    const file = await open(path, offset === 0 ? 'w' : 'a', 0o600)
    try {
      await file.writeFile(bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    if (last) await rename(path, this.#path(place))
  }

  async remove(place: BackupPlace): Promise<void> {
    await rm(this.#path(place), { force: true })
  }

  /** Of a database that is gone, and with it its keys. */
  async removeAll(service: string): Promise<void> {
    checkPlace({ service, backup: 'all' })
    await rm(join(this.#directory, service), { recursive: true, force: true })
  }

  /** What a write that was killed left behind. */
  async sweep(): Promise<void> {
    const services = await readdir(this.#directory).catch(() => [])
    for (const service of services) {
      for (const name of await readdir(join(this.#directory, service)).catch(() => [])) if (name.endsWith(PART)) await rm(join(this.#directory, service, name), { force: true })
    }
  }

  #path(place: BackupPlace): string {
    checkPlace(place)
    return join(this.#directory, place.service, place.backup)
  }
}
