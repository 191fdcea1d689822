/**
 * A backup's bytes, sealed: chunks of 64 KiB, each by AES-256-GCM (NIST SP 800-38D) under a key that seals this one backup.
 * Chunks are of one size, so that any of them is found without the others; its number and whether it is the last one are
 * part of the nonce and the associated data, so that none can be moved, left out or cut off. Pure.
 *
 *   chunk n: ciphertext (64 KiB, the last one less, maybe nothing) | tag 16; nonce: n as 12 bytes (the key is never used again)
 */
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { NearcastError } from './errors.ts'

export const CHUNK_BYTES = 64 * 1024
const TAG_BYTES = 16
export const SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES

export interface SealKey {
  /** 32 bytes. */
  readonly key: Uint8Array
  /** The backup's id: chunks of another one don't open. */
  readonly backup: string
}

export function sealChunk(seal: SealKey, index: number, last: boolean, plain: Uint8Array): Buffer {
  const cipher = createCipheriv('aes-256-gcm', seal.key, nonce(index), { authTagLength: TAG_BYTES })
  cipher.setAAD(about(seal, last))
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

/** @throws NearcastError redis.backup-damaged */
export function openChunk(seal: SealKey, index: number, last: boolean, sealed: Uint8Array): Buffer {
  try {
    const end = sealed.length - TAG_BYTES
    const decipher = createDecipheriv('aes-256-gcm', seal.key, nonce(index), { authTagLength: TAG_BYTES })
    decipher.setAAD(about(seal, last))
    decipher.setAuthTag(sealed.subarray(end))
    return Buffer.concat([decipher.update(sealed.subarray(0, end)), decipher.final()])
  } catch (error) {
    throw new NearcastError('redis.backup-damaged', `Chunk ${index} of the backup ${seal.backup} is not what was written; take another backup.`, { cause: error })
  }
}

/** How many chunks `bytes` of content are: at least one, so that an end can't be left out. */
export function chunkCount(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / CHUNK_BYTES))
}

/** Groups any pieces into chunks; the last one is known when there is no more. */
export async function* chunked(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<{ readonly bytes: Buffer; readonly last: boolean }> {
  let held: Buffer[] = []
  let size = 0
  for await (const piece of pieces) {
    held.push(Buffer.from(piece))
    size += piece.length
    while (size > CHUNK_BYTES) {
      const all = Buffer.concat(held)
      yield { bytes: all.subarray(0, CHUNK_BYTES), last: false }
      held = [all.subarray(CHUNK_BYTES)]
      size -= CHUNK_BYTES
    }
  }
  yield { bytes: Buffer.concat(held), last: true }
}

function nonce(index: number): Buffer {
  const bytes = Buffer.alloc(12)
  bytes.writeUIntBE(index, 6, 6)
  return bytes
}

function about({ backup }: SealKey, last: boolean): Buffer {
  return Buffer.from(`${backup}|${last ? 'last' : 'more'}`)
}
