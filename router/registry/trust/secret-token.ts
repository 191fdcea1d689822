/**
 * Tokens: made here, shown once, stored as SHA-256 only and compared in constant time.
 *   API   nct_<id>_<32 random bytes, base64url>
 *   join  njt_<24 random bytes, base64url>_<SHA-256 of the CA's certificate, hexadecimal>
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'

export const BOOTSTRAP_TOKEN_ID = 'bootstrap'

export function hashToken(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}

export function matchesHash(token: string, hash: string): boolean {
  const expected = Buffer.from(hash, 'hex')
  const actual = createHash('sha256').update(token).digest()
  return expected.length === actual.length && timingSafeEqual(expected, actual)
}

export function newApiToken(id: string): string {
  return `nct_${id}_${randomBytes(32).toString('base64url')}`
}

/** The record to compare with; a token that the starter gave has no id in it. */
export function apiTokenId(token: string): string {
  return /^nct_([a-z0-9]{4,40})_/.exec(token)?.[1] ?? BOOTSTRAP_TOKEN_ID
}

export function newJoinToken(caFingerprint: string): string {
  return `njt_${randomBytes(24).toString('base64url')}_${caFingerprint}`
}

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'

/** 80 random bits as sixteen letters and digits, with a prefix that tells the kind: `srv4k…`. */
export function newId(prefix: string): string {
  return prefix + Array.from(randomBytes(16), (byte) => ALPHABET[byte & 31]).join('')
}
