/** A WireGuard key in a file of its own, 0600: made once, on disk before anybody hears of its public half. */
import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, statSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { NearcastError } from '../lib/errors.ts'
import { clampPrivate, decodeKey, encodeKey, KeyPair } from '../lib/wireguard/keys.ts'

export interface WireguardKey {
  /** 32 bytes; whoever uses it up zeroes it. */
  readonly privateKey: Uint8Array
  /** Base64. */
  readonly publicKey: string
}

/** null when there is no such file. @throws NearcastError identity.invalid */
export function readWireguardKey(file: string): WireguardKey | null {
  const mode = statSync(file, { throwIfNoEntry: false })?.mode
  if (mode === undefined) return null
  if ((mode & 0o077) !== 0) throw new NearcastError('identity.invalid', `${file} is a secret: chmod 600 it.`)
  return pair(readFileSync(file, 'utf8').trim())
}

/** Fails when there is such a file. */
export function makeWireguardKey(file: string): WireguardKey {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  const text = encodeKey(clampPrivate(randomBytes(32)))
  const fd = openSync(file, 'wx', 0o600)
  try {
    writeSync(fd, `${text}\n`)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  return pair(text)
}

function pair(text: string): WireguardKey {
  const privateKey = decodeKey(text)
  return { privateKey, publicKey: KeyPair.fromPrivate(Uint8Array.from(privateKey)).publicKey.text }
}
