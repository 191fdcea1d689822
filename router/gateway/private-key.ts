/**
 * The gateway's WireGuard key: made before it joins, 0600, never replaced. Every configuration that was handed out names its
 * public half, so a gateway that has joined and lost it doesn't start with another one.
 */
import { join } from 'node:path'
import { NearcastError } from '../../lib/errors.ts'
import { loadIdentity } from '../../lib/identity.ts'
import { makeWireguardKey, readWireguardKey } from '../wireguard-key.ts'
import type { WireguardKey } from '../wireguard-key.ts'

const FILE = 'wireguard.key'

/** @throws NearcastError identity.invalid */
export function gatewayKey(stateDir: string): WireguardKey {
  const file = join(stateDir, FILE)
  const known = readWireguardKey(file)
  if (known !== null) return known
  if (loadIdentity(stateDir) === null) return makeWireguardKey(file)
  throw new NearcastError('identity.invalid', `${file} is gone, and peers know its public half; restore it, or remove identity.json and join again.`)
}
