/**
 * The gateway's WireGuard key: made before it joins, 0600, never replaced. Every configuration that was handed out names its
 * public half, so a gateway that has joined and lost it doesn't start with another one.
 */
import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { NearcastError } from '../../lib/errors.ts'
import { loadIdentity } from '../../lib/identity.ts'
import { clampPrivate, decodeKey, encodeKey, KeyPair } from '../../lib/wireguard/keys.ts'

const FILE = 'wireguard.key'

export interface GatewayKey {
  /** 32 bytes; whoever uses it up zeroes it. */
  readonly privateKey: Uint8Array
  /** Base64. */
  readonly publicKey: string
}

/** @throws NearcastError identity.invalid */
export function gatewayKey(stateDir: string): GatewayKey {
  const file = join(stateDir, FILE)
  const text = read(file) ?? make(stateDir, file)
  const privateKey = decodeKey(text)
  return { privateKey, publicKey: KeyPair.fromPrivate(Uint8Array.from(privateKey)).publicKey.text }
}

function read(file: string): string | null {
  const mode = statSync(file, { throwIfNoEntry: false })?.mode
  if (mode === undefined) return null
  if ((mode & 0o077) !== 0) throw new NearcastError('identity.invalid', `${file} is a secret: chmod 600 it.`)
  return readFileSync(file, 'utf8').trim()
}

function make(stateDir: string, file: string): string {
  if (loadIdentity(stateDir) !== null) {
    throw new NearcastError('identity.invalid', `${file} is gone, and peers know its public half; restore it, or remove identity.json and join again.`)
  }
  mkdirSync(stateDir, { recursive: true, mode: 0o700 })
  const text = encodeKey(clampPrivate(randomBytes(32)))
  const fd = openSync(file, 'wx', 0o600)
  try {
    writeSync(fd, `${text}\n`)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  return text
}
