/**
 * Credentials of databases, kept so that the API can show them again: AES-256-GCM under a key outside the store, bound to
 * the service's id, so that a sealed text moved to another record doesn't open. Format: base64url(nonce 12 | tag 16 | data).
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'
import { z } from 'zod'
import { NearcastError } from '../../../lib/errors.ts'

const credentials = z.object({
  password: z.string(),
  replicationSecret: z.string(),
  /** Of the users beside `default`, by name. */
  users: z.record(z.string(), z.string()).default({}),
})
export type Credentials = z.infer<typeof credentials>

const NONCE_BYTES = 12
const TAG_BYTES = 16

/** 192 random bits each; letters, digits, "-" and "_" only, so that it stands in a URL as it is. */
export function newCredentials(): Credentials {
  return { password: newPassword(), replicationSecret: newPassword(), users: {} }
}

export function newPassword(): string {
  return randomBytes(24).toString('base64url')
}

export class Vault {
  readonly #key: Buffer

  constructor(key: Buffer) {
    this.#key = key
  }

  seal(service: string, content: Credentials): string {
    return this.sealText(service, JSON.stringify(content))
  }

  /** @throws NearcastError store.corrupt when the text was changed or the key is another one. */
  open(service: string, sealed: string): Credentials {
    const parsed = credentials.safeParse(parseJson(this.openText(service, sealed)))
    if (parsed.success) return parsed.data
    throw corrupt(service, parsed.error)
  }

  /** `about`: the id of what it belongs to. */
  sealText(about: string, text: string): string {
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce, { authTagLength: TAG_BYTES })
    cipher.setAAD(Buffer.from(about))
    const data = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
    return Buffer.concat([nonce, cipher.getAuthTag(), data]).toString('base64url')
  }

  /** @throws NearcastError store.corrupt when the text was changed or the key is another one. */
  openText(about: string, sealed: string): string {
    try {
      const bytes = Buffer.from(sealed, 'base64url')
      const decipher = createDecipheriv('aes-256-gcm', this.#key, bytes.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES })
      decipher.setAAD(Buffer.from(about))
      decipher.setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES))
      return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES)), decipher.final()]).toString('utf8')
    } catch (error) {
      throw corrupt(about, error)
    }
  }
}

function corrupt(about: string, cause: unknown): NearcastError {
  return new NearcastError('store.corrupt', `The credentials of ${about} can't be opened; is credentials.key the one of this store?`, { cause })
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

/** As Redis's ACL takes it. */
export function passwordSha256(password: string): string {
  return createHash('sha256').update(password).digest('hex')
}
