/**
 * The four messages of WireGuard as bytes (whitepaper, section 5.4). Lengths and reserved bytes are checked before
 * anything is read; what is decoded are views of the datagram: copy what you keep. Pure.
 */
import { COOKIE_REPLY_BYTES, INITIATION_BYTES, MAC_BYTES, MESSAGE, MIN_TRANSPORT_BYTES, RESPONSE_BYTES, TRANSPORT_HEADER_BYTES } from './constants.ts'
import type { FirstMessage, SecondMessage } from './noise.ts'

export type Message =
  | { readonly type: 'initiation'; readonly sender: number; readonly first: FirstMessage }
  | { readonly type: 'response'; readonly sender: number; readonly receiver: number; readonly second: SecondMessage }
  | { readonly type: 'cookie-reply'; readonly receiver: number; readonly nonce: Uint8Array; readonly sealedCookie: Uint8Array }
  /** `counter` is -1 when it is larger than any that we accept. */
  | { readonly type: 'transport'; readonly receiver: number; readonly counter: number; readonly sealed: Uint8Array }

/** @returns null for what is no message. */
export function decodeMessage(bytes: Uint8Array): Message | null {
  if (bytes.length < MIN_TRANSPORT_BYTES || bytes[1] !== 0 || bytes[2] !== 0 || bytes[3] !== 0) return null
  switch (bytes[0]) {
    case MESSAGE.transport: {
      const high = u32(bytes, 12)
      const counter = high < 0x20_0000 ? high * 0x1_0000_0000 + u32(bytes, 8) : -1
      return { type: 'transport', receiver: u32(bytes, 4), counter, sealed: bytes.subarray(TRANSPORT_HEADER_BYTES) }
    }
    case MESSAGE.initiation:
      if (bytes.length !== INITIATION_BYTES) return null
      return { type: 'initiation', sender: u32(bytes, 4), first: { ephemeral: bytes.subarray(8, 40), sealedStatic: bytes.subarray(40, 88), sealedPayload: bytes.subarray(88, 116) } }
    case MESSAGE.response:
      if (bytes.length !== RESPONSE_BYTES) return null
      return { type: 'response', sender: u32(bytes, 4), receiver: u32(bytes, 8), second: { ephemeral: bytes.subarray(12, 44), sealedPayload: bytes.subarray(44, 60) } }
    case MESSAGE.cookieReply:
      if (bytes.length !== COOKIE_REPLY_BYTES) return null
      return { type: 'cookie-reply', receiver: u32(bytes, 4), nonce: bytes.subarray(8, 32), sealedCookie: bytes.subarray(32, 64) }
    default:
      return null
  }
}

/** Both macs are still zero. */
export function encodeInitiation(sender: number, first: FirstMessage): Uint8Array {
  const bytes = start(INITIATION_BYTES, MESSAGE.initiation, sender)
  bytes.set(first.ephemeral, 8)
  bytes.set(first.sealedStatic, 40)
  bytes.set(first.sealedPayload, 88)
  return bytes
}

/** Both macs are still zero. */
export function encodeResponse(sender: number, receiver: number, second: SecondMessage): Uint8Array {
  const bytes = start(RESPONSE_BYTES, MESSAGE.response, sender)
  setU32(bytes, 8, receiver)
  bytes.set(second.ephemeral, 12)
  bytes.set(second.sealedPayload, 44)
  return bytes
}

export function encodeCookieReply(receiver: number, nonce: Uint8Array, sealedCookie: Uint8Array): Uint8Array {
  const bytes = start(COOKIE_REPLY_BYTES, MESSAGE.cookieReply, receiver)
  bytes.set(nonce, 8)
  bytes.set(sealedCookie, 32)
  return bytes
}

/** The first 16 bytes of a transport message. */
export function writeTransportHeader(bytes: Uint8Array, receiver: number, counter: number): void {
  bytes[0] = MESSAGE.transport
  bytes[1] = 0
  bytes[2] = 0
  bytes[3] = 0
  setU32(bytes, 4, receiver)
  setU32(bytes, 8, counter % 0x1_0000_0000)
  setU32(bytes, 12, Math.floor(counter / 0x1_0000_0000))
}

/** Of an initiation or a response: what each mac covers, and the macs. Views. */
export function macsOf(bytes: Uint8Array): { readonly body: Uint8Array; readonly mac1: Uint8Array; readonly withMac1: Uint8Array; readonly mac2: Uint8Array } {
  const end = bytes.length
  return {
    body: bytes.subarray(0, end - 2 * MAC_BYTES),
    mac1: bytes.subarray(end - 2 * MAC_BYTES, end - MAC_BYTES),
    withMac1: bytes.subarray(0, end - MAC_BYTES),
    mac2: bytes.subarray(end - MAC_BYTES),
  }
}

function start(length: number, type: number, index: number): Uint8Array {
  const bytes = new Uint8Array(length)
  bytes[0] = type
  setU32(bytes, 4, index)
  return bytes
}

function u32(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] ?? 0) | ((bytes[offset + 1] ?? 0) << 8) | ((bytes[offset + 2] ?? 0) << 16) | ((bytes[offset + 3] ?? 0) << 24)) >>> 0
}

function setU32(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value
  bytes[offset + 1] = value >>> 8
  bytes[offset + 2] = value >>> 16
  bytes[offset + 3] = value >>> 24
}
