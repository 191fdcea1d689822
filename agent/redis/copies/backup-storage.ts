/**
 * A backup as sealed chunks (lib/sealed-chunks.ts), and where such chunks lie: on this node's disk (backup-files.ts) or in a
 * bucket that speaks S3 (s3-bucket.ts). What a backup is of, its checksum and its key are the registry's to know: without its key
 * what is stored is worth nothing, wherever it is.
 */
import { createHash } from 'node:crypto'
import { NearcastError } from '../../../lib/errors.ts'
import { chunkCount, chunked, openChunk, SEALED_CHUNK_BYTES, sealChunk } from '../../../lib/sealed-chunks.ts'

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

export interface BackupStorage {
  /** What the registry calls it; null: the disk of this node. */
  readonly name: string | null
  /** Whole or not at all. `chunks`: sealed, in order. @throws NearcastError, and what the system says */
  write(place: BackupPlace, chunks: AsyncIterable<Buffer>): Promise<void>
  /** As it lies there; shorter at its end. @throws NearcastError redis.backup-missing */
  readStored(place: BackupPlace, offset: number, maxBytes: number): Promise<Buffer>
  /** Idempotent. */
  remove(place: BackupPlace): Promise<void>
}

/** Read at once: a question to a bucket far away takes as long for much as for little. */
const CHUNKS_AT_ONCE = 64
const ID = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$/

/** Ids become names of files and objects. @throws NearcastError redis.backup-missing */
export function checkPlace({ service, backup }: BackupPlace): void {
  if (!ID.test(service) || !ID.test(backup)) throw new NearcastError('redis.backup-missing', 'There is no such backup.')
}

/** @throws NearcastError redis.copy-failed, redis.backup-store, and what the system says; nothing is left then */
export async function writeBackup(storage: BackupStorage, place: BackupPlace, key: Uint8Array, pieces: AsyncIterable<Uint8Array>): Promise<BackupContent & { readonly storedBytes: number }> {
  const hash = createHash('sha256')
  const seal = { key, backup: place.backup }
  let [bytes, storedBytes, index] = [0, 0, 0]
  async function* sealed(): AsyncGenerator<Buffer> {
    for await (const chunk of chunked(pieces)) {
      hash.update(chunk.bytes)
      bytes += chunk.bytes.length
      const out = sealChunk(seal, index++, chunk.last, chunk.bytes)
      storedBytes += out.length
      yield out
    }
  }
  await storage.write(place, sealed())
  return { bytes, sha256: hash.digest('hex'), storedBytes }
}

/** The plain RDB, checked as it goes; the checksum at its end. @throws NearcastError redis.backup-missing, redis.backup-damaged, redis.backup-store */
export async function* readBackup(storage: BackupStorage, place: BackupPlace, key: Uint8Array, { bytes, sha256 }: BackupContent): AsyncGenerator<Buffer> {
  const seal = { key, backup: place.backup }
  const hash = createHash('sha256')
  const count = chunkCount(bytes)
  for (let first = 0; first < count; first += CHUNKS_AT_ONCE) {
    const sealed = await storage.readStored(place, first * SEALED_CHUNK_BYTES, CHUNKS_AT_ONCE * SEALED_CHUNK_BYTES)
    for (let index = first; index < Math.min(count, first + CHUNKS_AT_ONCE); index++) {
      const at = (index - first) * SEALED_CHUNK_BYTES
      const plain = openChunk(seal, index, index === count - 1, sealed.subarray(at, at + SEALED_CHUNK_BYTES))
      hash.update(plain)
      if (index === count - 1 && hash.digest('hex') !== sha256) throw new NearcastError('redis.backup-damaged', `The checksum of the backup ${place.backup} is another one; take another backup.`)
      yield plain
    }
  }
}
