/** Keys of a run: made anew each time, good for nothing else. */
import { randomBytes } from 'node:crypto'
import { clampPrivate, encodeKey, KeyPair } from '../../lib/wireguard/keys.ts'

export interface Keys {
  readonly privateKey: string
  readonly publicKey: string
}

export function makeKeys(): Keys {
  const bytes = clampPrivate(new Uint8Array(randomBytes(32)))
  const privateKey = encodeKey(bytes)
  return { privateKey, publicKey: KeyPair.fromPrivate(bytes).publicKey.text }
}
