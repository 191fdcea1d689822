/**
 * One question to a receiver of PROXY headers: what is sent, what the specification demands, what to do when it fails.
 * Sections are those of HAProxy's doc/proxy-protocol.txt.
 */

/** Bytes, a pause in milliseconds, or the end of what we send. */
export type Part = Uint8Array | number | 'end'

/**
 * accept       MUST: the payload is answered
 * may-accept   either; a refusal is tolerated
 * refuse       MUST: the connection is aborted, nothing is answered
 * may-refuse   should be aborted; a receiver that takes it is tolerated
 * withhold     the application must not have spoken: there is no whole header
 * payload      what stands behind the header must reach the application, not be taken for another header
 */
export type Demand = 'accept' | 'may-accept' | 'refuse' | 'may-refuse' | 'withhold' | 'payload'

export interface CheckCase {
  /** `v2-local` */
  readonly id: string
  readonly title: string
  /** Of the protocol; null: of neither. */
  readonly version: 1 | 2 | null
  /** `2.2` */
  readonly section: string
  readonly demand: Demand
  /** Behind each header stands the payload, in a way of the case's own. */
  readonly parts: (payload: Uint8Array) => readonly Part[]
  /** What to do when it fails. */
  readonly todo: string
  /** Where others failed: a CVE, or project and number. */
  readonly known?: string
  /** Takes seconds: only when asked for. */
  readonly slow?: true
}

/** Two segments with this between them are two reads, unless the receiver is very busy. */
const APART_MS = 60
const BYTE_MS = 1

export function together(header: Uint8Array): CheckCase['parts'] {
  return (payload) => [Buffer.concat([header, payload])]
}

/** The header, a pause, the payload. */
export function apart(header: Uint8Array, pauseMs = APART_MS): CheckCase['parts'] {
  return (payload) => [header, pauseMs, payload]
}

/** The header in two segments, `at` bytes in the first one. */
export function halves(header: Uint8Array, at: number, pauseMs = APART_MS): CheckCase['parts'] {
  return (payload) => [header.subarray(0, at), pauseMs, Buffer.concat([header.subarray(at), payload])]
}

export function singleBytes(header: Uint8Array): CheckCase['parts'] {
  return (payload) => [...Array.from(header, (byte): Part[] => [Uint8Array.of(byte), BYTE_MS]).flat(), payload]
}

export function only(...parts: readonly Part[]): CheckCase['parts'] {
  return () => parts
}

export function text(line: string): Uint8Array {
  return Buffer.from(line, 'latin1')
}
