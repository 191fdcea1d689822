/**
 * TAI64N timestamps (https://cr.yp.to/libtai/tai64.html): 12 bytes in each initiation, so that none is answered twice.
 * Compared as bytes. Only their order matters, so leap seconds don't.
 */
const TAI64_BASE = 0x4000_0000_0000_000an
/** Steps of 16.8 ms: the exact time is nobody's business. */
const STEP_MASK = ~0xff_ffff

export type Timestamp = Uint8Array

/** Later than `last`, whatever the clock says: clocks are set back. */
export function timestampAfter(wallMs: number, last: Timestamp | null): Timestamp {
  const seconds = Math.floor(wallMs / 1000)
  const nanoseconds = Math.floor((wallMs - seconds * 1000) * 1e6) & STEP_MASK
  const now = encode(TAI64_BASE + BigInt(seconds), nanoseconds)
  if (last === null || isLater(now, last)) return now
  const view = new DataView(last.buffer, last.byteOffset)
  const next = view.getUint32(8) + 0x100_0000
  return next < 1e9 ? encode(view.getBigUint64(0), next) : encode(view.getBigUint64(0) + 1n, 0)
}

function encode(seconds: bigint, nanoseconds: number): Timestamp {
  const bytes = new Uint8Array(12)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, seconds)
  view.setUint32(8, nanoseconds)
  return bytes
}

export function isLater(left: Timestamp, right: Timestamp): boolean {
  return Buffer.compare(left, right) > 0
}
