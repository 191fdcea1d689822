/**
 * The numbers of the WireGuard protocol (whitepaper, sections 5 and 6). Our own limits stand apart, below: the protocol
 * leaves them to the implementation.
 * Specification: https://www.wireguard.com/papers/wireguard.pdf
 */

export const KEY_BYTES = 32
export const TAG_BYTES = 16
export const MAC_BYTES = 16
export const BLAKE2S_BLOCK_BYTES = 64
export const BLAKE2S_BYTES = 32

/** Section 5.4: the first byte of a message; three zero bytes follow. */
export const MESSAGE = { initiation: 1, response: 2, cookieReply: 3, transport: 4 } as const
export const INITIATION_BYTES = 148
export const RESPONSE_BYTES = 92
export const COOKIE_REPLY_BYTES = 64
export const TRANSPORT_HEADER_BYTES = 16
/** A keepalive: an empty packet. */
export const MIN_TRANSPORT_BYTES = TRANSPORT_HEADER_BYTES + TAG_BYTES
/** Section 5.4.6: packets are padded to a multiple of this before they are sealed. */
export const PADDING_BYTES = 16

/** Section 6.1. */
export const REKEY_AFTER_MS = 120_000
export const REJECT_AFTER_MS = 180_000
export const REKEY_TIMEOUT_MS = 5_000
export const REKEY_ATTEMPT_MS = 90_000
export const KEEPALIVE_TIMEOUT_MS = 10_000
/** Section 6.7: how long a cookie counts, and how long its maker's secret lives. */
export const COOKIE_LIFE_MS = 120_000
/** Added to REKEY_TIMEOUT_MS, so that two sides don't try in step. */
export const MAX_JITTER_MS = 333
/** After it nobody can use what is left of a session any more: keys go. */
export const FORGET_KEYS_AFTER_MS = 3 * REJECT_AFTER_MS

/** Stricter than the protocol's 2^60 and 2^64-2^13-1: counters stay exact as numbers. A session never gets there in 180 s. */
export const REKEY_AFTER_MESSAGES = 2 ** 52
export const REJECT_AFTER_MESSAGES = 2 ** 53 - 2 ** 13 - 1

/** Ours: packets that wait for a session, of one peer and of all. The oldest goes first. */
export const MAX_WAITING_PACKETS = 128
export const MAX_WAITING_BYTES = 32 << 20
/** Ours: initiations of one peer come further apart than this. The clock in them has steps of 16.8 ms. */
export const MIN_INITIATION_GAP_MS = 20
/** Ours: handshake messages a second that are answered without asking for a cookie first. */
export const HANDSHAKES_PER_SECOND = 200
/** Ours: how long "under load" lasts after its last reason. */
export const LOAD_LASTS_MS = 1_000
/** Ours, under load: handshakes a second from one proven address, how many at once, and of how many addresses we know. */
export const SOURCE_HANDSHAKES_PER_SECOND = 20
export const SOURCE_HANDSHAKE_BURST = 5
export const MAX_SOURCES = 4_096
/** What a sealed packet has more than the one inside: IPv6, UDP and our own 32 bytes. */
export const WIREGUARD_BYTES = 80
/** Ours: a whole IPv6 packet of the Ethernet's 1500. */
export const DEFAULT_MTU = 1_500 - WIREGUARD_BYTES
export const MAX_PACKET_BYTES = 65_535

/** Ours, for datagrams in a stream (stream-framing.ts); what flyctl and its gateways use. */
export const STREAM_MAGIC = 0x2fac_ed77
export const MAX_STREAM_DATAGRAM_BYTES = 2048
/** A side that has nothing else to say says so. */
export const STREAM_KEEPALIVE_MS = 1000
/** Unsent bytes of a stream, beyond which datagrams are lost, as they would be on a full line. */
export const MAX_STREAM_BACKLOG_BYTES = 1 << 20
