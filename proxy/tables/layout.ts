/**
 * Where things stand in the shared memory of the routes, in words of 32 bits. One writer (the control thread) and any
 * number of readers agree on nothing but this file.
 *
 *   control   four lines of 64 bytes: what never changes; the directory; the count of moves; sizes
 *   slots     open addressing, one region at a time, named by the directory: an address each
 *   records   services, what they are called, and candidate sets, in what is left
 *
 * A version is odd while its words are being written. What readers see half written they read again, and no word of it
 * is ever read but by Atomics.load.
 */
export const LAYOUT = 0x6e63_0001

/** Control words. Each line of 16 is a cache line, so that a busy one doesn't slow those that rest. */
export const CONTROL = {
  layout: 0,
  prefix: 1,
  key0: 2,
  key1: 3,
  /** Version of the two below: another region of slots is in force. */
  directory: 16,
  base: 17,
  capacity: 18,
  /** Odd while slots change places: who found nothing meanwhile looks again. */
  moves: 32,
} as const
// look-up.wat has these numbers, too, and those of SLOT.
export const CONTROL_WORDS = 64

/** A slot: half a cache line. Its network is 0 while it is empty. */
export const SLOT = {
  version: 0,
  network: 1,
  /** Low 32 bits of the Flycast number. */
  low: 2,
  /** High 16 bits of it, then the port. */
  highAndPort: 3,
  generation: 4,
  policy: 5,
  /** The record of its service. */
  service: 6,
  /** What its service is called; another one with each change of the service. */
  names: 7,
} as const
export const SLOT_WORDS = 8

/** A service: one word (half of the word position of its candidate set, then the bytes of its id), then the id. */
export const MAX_SERVICE_ID_BYTES = 64
export const SERVICE_ID_BITS = 7
/** What a service is called: bytes, and the names as JSON. */
export const NAMES = { bytes: 0, text: 1 } as const
export const MAX_NAMES_BYTES = 2048
/** A candidate set: version, count, nodes with their roles. */
export const SET = { version: 0, count: 1, nodes: 2 } as const
export const MAX_CANDIDATES = 64
/** Positions of records are even and have 26 bits. */
export const MAX_WORDS = 2 ** 26

export const POLICY = {
  known: 1,
  shadow: 2,
  kindShift: 2,
  tlsShift: 4,
  particularTls: 1 << 6,
  liveShift: 7,
} as const
export const POLICY_KIND_MASK = 3
export const POLICY_TLS_MASK = 3
export const POLICY_LIVE_MASK = 0x1_ffff
