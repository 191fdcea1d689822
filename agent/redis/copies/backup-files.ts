/**
 * The files of backups on this node: sealed chunks (lib/sealed-chunks.ts) and nothing else, 0600.
 *
 *   <directory>/<service>/<backup>        whole, synced to disk before it has this name
 *   <directory>/<service>/<backup>.part   being written
 *
 * What a backup is of, its checksum and its key are the registry's to know: without its key a file is worth nothing.
 */
import { createHash } from 'node:crypto'
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { NearcastError } from '../../../lib/errors.ts'
import { chunkCount, chunked, openChunk, SEALED_CHUNK_BYTES, sealChunk } from '../../../lib/sealed-chunks.ts'
import type { SealKey } from '../../../lib/sealed-chunks.ts'

export interface BackupPlace {
  readonly service: string
  readonly backup: string
}

export interface BackupContent {
  /** Of the plain RDB. */
  readonly bytes: number
  /** Hex, of the plain RDB. */
  readonly sha256: string
}

const ID = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$/
const PART = '.part'

export class BackupFiles {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  /** @throws NearcastError redis.copy-failed, and what the file system says; nothing is left then */
  async write(place: BackupPlace, key: Uint8Array, pieces: AsyncIterable<Uint8Array>): Promise<BackupContent & { readonly storedBytes: number }> {
    const path = this.#path(place)
    await mkdir(join(this.#directory, place.service), { recursive: true, mode: 0o700 })
    const seal = { key, backup: place.backup }
    const hash = createHash('sha256')
    const file = await open(`${path}${PART}`, 'w', 0o600)
    try {
      let bytes = 0
      let storedBytes = 0
      let index = 0
      for await (const chunk of chunked(pieces)) {
        hash.update(chunk.bytes)
        bytes += chunk.bytes.length
        const sealed = sealChunk(seal, index++, chunk.last, chunk.bytes)
        storedBytes += sealed.length
        await file.writeFile(sealed)
      }
      await file.sync()
      await rename(`${path}${PART}`, path)
      return { bytes, sha256: hash.digest('hex'), storedBytes }
    } catch (error) {
      await rm(`${path}${PART}`, { force: true })
      throw error
    } finally {
      await file.close()
    }
  }

  /** The plain RDB, checked as it goes; the checksum at its end. @throws NearcastError redis.backup-missing, redis.backup-damaged */
  async *read(place: BackupPlace, key: Uint8Array, { bytes, sha256 }: BackupContent): AsyncGenerator<Buffer> {
    const seal: SealKey = { key, backup: place.backup }
    const hash = createHash('sha256')
    const count = chunkCount(bytes)
    for (let index = 0; index < count; index++) {
      const sealed = await this.readStored(place, index * SEALED_CHUNK_BYTES, SEALED_CHUNK_BYTES)
      const plain = openChunk(seal, index, index === count - 1, sealed)
      hash.update(plain)
      if (index === count - 1 && hash.digest('hex') !== sha256) throw new NearcastError('redis.backup-damaged', `The checksum of the backup ${place.backup} is another one; take another backup.`)
      yield plain
    }
  }

  /** As it lies there, sealed. @throws NearcastError redis.backup-missing */
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
    if (ID.test(service)) await rm(join(this.#directory, service), { recursive: true, force: true })
  }

  /** What a write that was killed left behind. */
  async sweep(): Promise<void> {
    const services = await readdir(this.#directory).catch(() => [])
    for (const service of services) {
      for (const name of await readdir(join(this.#directory, service)).catch(() => [])) if (name.endsWith(PART)) await rm(join(this.#directory, service, name), { force: true })
    }
  }

  #path({ service, backup }: BackupPlace): string {
    if (!ID.test(service) || !ID.test(backup)) throw new NearcastError('redis.backup-missing', 'There is no such backup.')
    return join(this.#directory, service, backup)
  }
}
