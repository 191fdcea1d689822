/**
 * Keys of one (dialer, agent) pair, as the feed brings them (hex, the newest first), ready for use.
 * All of them verify; the first one signs. They don't expire by time: a router that is gone must not stop the hop.
 */
import type { HopKeys } from '../feed/messages.ts'

export interface SigningKey {
  readonly epoch: number
  readonly key: Uint8Array
}

/** A row isn't changed but replaced: what was read of it stays true as long as it lives. */
const read = new WeakMap<HopKeys, readonly SigningKey[]>()

function keysOf(row: HopKeys): readonly SigningKey[] {
  let keys = read.get(row)
  if (keys === undefined) read.set(row, (keys = row.map(({ epoch, key }) => ({ epoch, key: Buffer.from(key, 'hex') }))))
  return keys
}

/** @returns null when there is none: such a node can't be dialled. */
export function signingKey(row: HopKeys): SigningKey | null {
  return keysOf(row)[0] ?? null
}

/** epoch -> key, for verifyConnection. */
export function verifyingKeys(row: HopKeys): ReadonlyMap<number, Uint8Array> {
  return new Map(keysOf(row).map(({ epoch, key }) => [epoch, key]))
}
