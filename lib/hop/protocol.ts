/**
 * The hop, dialer (proxy or agent) -> agent: numbers and frames. trust.md's decisions in bytes:
 *
 *   every connection:  one PROXY v2 header that carries TLV 0xE7 (header.ts), then by its kind
 *   session:           LOCAL; frames both ways for as long as the dialer lives (session-client.ts, sessions.ts)
 *   probe:             LOCAL; the agent answers one `pong`, the dialer closes (probe.ts)
 *   connection:        PROXY TCP6, signed; the agent answers one status byte; after `ok` only payload, both ways
 *
 * Frames: u32 big-endian length, JSON. A frame whose type the reader doesn't know is skipped (a newer peer).
 */
import { z } from 'zod'

export const HOP_TLV = 0xe7
export const HOP_VERSION = 1
export const HOP_ALPN = 'nearcast-hop/1'
export const MAX_HOP_HEADER_BYTES = 2048
export const MAX_FRAME_BYTES = 1 << 16
export const SESSION_BYTES = 16
export const MAC_BYTES = 32
/** What a dialer may name: more services than this unavailable on one agent is a broken agent. */
export const MAX_UNAVAILABLE = 100_000

/** The agent's one byte before any payload. */
export const STATUS = {
  ok: 0,
  /** The agent doesn't know the session (it restarted): reopen it, try this node once more. */
  unknownSession: 1,
  /** Bad signature, replay, unknown dialer, old generation, or the service isn't the address's. */
  refused: 2,
  /** The tenant's engine is down or starts too slowly. */
  unavailable: 3,
  unknownService: 4,
  overloaded: 5,
} as const
export type StatusName = keyof typeof STATUS

/** @returns null for a byte that is no status of this version. */
export function statusName(byte: number): StatusName | null {
  for (const [name, value] of Object.entries(STATUS)) if (value === byte) return name as StatusName
  return null
}

const count = z.int().min(0)

export const fromAgent = z.discriminatedUnion('type', [
  /** First frame of a session: its random id. */
  z.object({ type: z.literal('challenge'), session: z.string().regex(/^[0-9a-f]{32}$/) }),
  /** The whole map serviceId -> reason. A map too long for a frame comes in parts, all but the last with `more`. */
  z.object({
    type: z.literal('availability'),
    unavailable: z.record(z.string().max(64), z.string().max(128)),
    more: z.boolean().optional(),
  }),
  z.object({ type: z.literal('load'), connections: count }),
  z.object({ type: z.literal('pong'), n: count }),
])
export type FromAgent = z.infer<typeof fromAgent>

export const fromDialer = z.discriminatedUnion('type', [z.object({ type: z.literal('ping'), n: count })])
export type FromDialer = z.infer<typeof fromDialer>
