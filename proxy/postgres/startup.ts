/**
 * The first message of a PostgreSQL client, as far as a carrier has to know it (PostgreSQL's documentation, "Message
 * Formats": SSLRequest, GSSENCRequest, CancelRequest, StartupMessage). Pure, on the whole buffer so far; what isn't
 * clearly one of the special messages is a session: the server judges it, not we.
 */

/** Length, code, process id, and a key of 4 bytes (protocol 3.0) up to 256 (3.2). */
const MIN_CANCEL_BYTES = 16
export const MAX_STARTUP_BYTES = 12 + 256
/** Length and code alone. */
export const NEGOTIATION_BYTES = 8

/** 1234 in the upper half: no version that could be. */
const CODES = { cancel: 80_877_102, ssl: 80_877_103, gssEncryption: 80_877_104 } as const

export type Startup =
  | { readonly state: 'incomplete' }
  /** A key to interrupt another connection; `bytes` long. The server answers nothing and closes. */
  | { readonly state: 'cancel'; readonly bytes: number }
  /** A question about encryption, answered by one byte; after `N` another first message may follow in the clear. */
  | { readonly state: 'negotiation' }
  /** Anything else: a startup message, TLS at once, or no PostgreSQL at all. */
  | { readonly state: 'session' }

const SESSION: Startup = { state: 'session' }
const INCOMPLETE: Startup = { state: 'incomplete' }

/** Decides as early as the bytes allow, at the latest at MAX_STARTUP_BYTES. */
export function readStartup(bytes: Uint8Array): Startup {
  // Every message here is shorter than 64 KiB: TLS (0x16) and text end at their first byte.
  if ((bytes[0] ?? 0) !== 0 || (bytes[1] ?? 0) !== 0) return SESSION
  if (bytes.length < NEGOTIATION_BYTES) return INCOMPLETE
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const length = view.getUint32(0)
  const code = view.getUint32(4)
  if (code === CODES.cancel) {
    if (length < MIN_CANCEL_BYTES || length > MAX_STARTUP_BYTES) return SESSION
    return bytes.length < length ? INCOMPLETE : { state: 'cancel', bytes: length }
  }
  const negotiates = (code === CODES.ssl || code === CODES.gssEncryption) && length === NEGOTIATION_BYTES
  // Who sends more doesn't wait for the answer.
  return negotiates && bytes.length === NEGOTIATION_BYTES ? { state: 'negotiation' } : SESSION
}
