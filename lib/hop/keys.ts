/**
 * Keys of one (dialer, agent) pair, as the feed brings them (hex, the newest first), ready for use.
 * All of them verify; the first one signs. They don't expire by time: a router that is gone must not stop the hop.
 */
import type { HopKeys } from '../feed/messages.ts'

export interface SigningKey {
  readonly epoch: number
  readonly key: Uint8Array
}

/** @returns null when there is none: such a node can't be dialled. */
export function signingKey(keys: HopKeys): SigningKey | null {
  const newest = keys[0]
  return newest === undefined ? null : { epoch: newest.epoch, key: Buffer.from(newest.key, 'hex') }
}

/** epoch -> key, for verifyConnection. */
export function verifyingKeys(keys: HopKeys): ReadonlyMap<number, Uint8Array> {
  return new Map(keys.map(({ epoch, key }) => [epoch, Buffer.from(key, 'hex')]))
}
