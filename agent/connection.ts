/**
 * The life of one hop connection at the agent, as a pure state machine (lib/plane/plane.ts performs what it says).
 *
 *   opening -> asking -> dialling -> carrying      a signed connection: status byte 0, then only bytes move
 *   opening -> session                             frames both ways, pushed by the control side (sessions.ts)
 *   opening -> over                                a probe, or a refusal: its status byte, or a reset for what is no header
 *
 * Nothing reaches a database before its header was checked whole (admission.ts), and no client byte is read before
 * status 0 was sent. A dialer may therefore repeat elsewhere whatever failed here.
 */
import { decodeOpening } from '../lib/hop/header.ts'
import type { ConnectionOpening, HopConnection, LocalOpening } from '../lib/hop/header.ts'
import { dialerFrames, encodeFrame } from '../lib/hop/frames.ts'
import { MAX_FRAME_BYTES, MAX_HOP_HEADER_BYTES, STATUS } from '../lib/hop/protocol.ts'
import type { Brain, CarryResult, DialTarget, Peer, PlaneAction, PlaneEvent } from '../lib/plane/plane.ts'

export type RefusalReason =
  | 'malformed'
  | 'oversize'
  | 'slow-header'
  | 'half-header'
  | 'anonymous'
  | 'other-identity'
  | 'other-certificate'
  | 'other-agent'
  | 'unknown-dialer'
  | 'bad-signature'
  | 'unknown-session'
  | 'replayed'
  | 'unknown-service'
  | 'unknown-address'
  | 'other-generation'
  | 'other-service'
  | 'no-replica'
  | 'no-primary'
  | 'no-proxy'
  | 'overloaded'
  | 'unavailable'
  | 'source-not-allowed'
  | 'max-clients'

export interface Refusal {
  /** One of STATUS. */
  readonly status: number
  readonly reason: RefusalReason
  /** In the client's own protocol: it is told why, and its connection ends. Only with status ok. */
  readonly farewell?: Uint8Array
}

/** Decides at once, from tables in memory. */
export interface Gate {
  admitLocal(opening: LocalOpening, peer: Peer): Refusal | null
  admitConnection(opening: ConnectionOpening, peer: Peer): Refusal | null
}

/** What the brain asks the control side. */
export type Question =
  /** Answer: EngineAnswer, as soon as the engine answers or won't. */
  | { readonly type: 'engine'; readonly connection: HopConnection }
  /** Answer: the first frames of a new session. */
  | { readonly type: 'session'; readonly dialer: string; readonly certificate: string | null }
  /** Answer: the next frames, once there are some, or null when the session is over. */
  | { readonly type: 'push' }

/** `header`: the PROXY header, or whatever else what is dialled reads first; empty for what reads none. `rates`: of the plane. */
export type EngineAnswer = { readonly target: DialTarget; readonly header: Uint8Array; readonly rates?: readonly string[] } | { readonly unavailable: string }

export interface ConnectionEnd {
  readonly opening: LocalOpening | ConnectionOpening | null
  readonly refusal: RefusalReason | null
  /** Why the engine is unavailable. */
  readonly detail: string | null
  readonly carried: boolean
  readonly result: CarryResult
}

export interface HopBrainOptions {
  readonly gate: Gate
  readonly headerTimeoutMs: number
  readonly engineDialTimeoutMs: number
  /** A dialer pings every 2 s; a session without a ping for this long is dead. */
  readonly sessionIdleMs: number
  readonly ended: (end: ConnectionEnd) => void
}

type State = 'opening' | 'asking' | 'dialling' | 'carrying' | 'session' | 'farewell' | 'over'

/** A client that hasn't said anything by then is closed all the same. */
const FAREWELL_MS = 1000
const FAREWELL_BYTES = 16 * 1024

export class HopBrain implements Brain {
  readonly #options: HopBrainOptions
  readonly #frames = dialerFrames()
  #state: State = 'opening'
  #peer: Peer = { kind: 'anonymous' }
  #opening: LocalOpening | ConnectionOpening | null = null
  #refusal: RefusalReason | null = null
  #detail: string | null = null
  #carried = false
  #header: Uint8Array = new Uint8Array()
  #rates: readonly string[] = []
  #farewell: Uint8Array = new Uint8Array()

  constructor(options: HopBrainOptions) {
    this.#options = options
  }

  on(event: PlaneEvent): readonly PlaneAction[] {
    if (event.type === 'closed') {
      const { ended } = this.#options
      ended({ opening: this.#opening, refusal: this.#refusal, detail: this.#detail, carried: this.#carried, result: event.result })
      return []
    }
    switch (this.#state) {
      case 'opening':
        return this.#onOpening(event)
      case 'asking':
        return this.#onAsking(event)
      case 'dialling':
        return this.#onDialling(event)
      case 'session':
        return this.#onSession(event)
      case 'farewell':
        return this.#onFarewell(event)
      default:
        return []
    }
  }

  #onOpening(event: PlaneEvent): readonly PlaneAction[] {
    switch (event.type) {
      case 'accepted':
        this.#peer = event.peer
        return [
          { type: 'timer', name: 'header', afterMs: this.#options.headerTimeoutMs },
          { type: 'read', side: 'client', limitBytes: MAX_HOP_HEADER_BYTES },
        ]
      case 'received':
        return this.#onBytes(event.bytes)
      case 'timer':
        return this.#reset('slow-header')
      case 'ended':
        return this.#reset('half-header')
      default:
        return []
    }
  }

  #onBytes(bytes: Uint8Array): readonly PlaneAction[] {
    const decoded = decodeOpening(bytes)
    if (decoded.state === 'invalid') return this.#reset('malformed')
    if (decoded.state === 'incomplete') return bytes.length >= MAX_HOP_HEADER_BYTES ? this.#reset('oversize') : []
    const { opening, headerBytes } = decoded
    this.#opening = opening
    const begin: PlaneAction[] = [
      { type: 'cancel-timer', name: 'header' },
      { type: 'consume', side: 'client', bytes: opening.kind === 'session' ? bytes.length : headerBytes },
    ]
    if (opening.kind === 'connection') return [...begin, ...this.#openConnection(opening)]
    const refusal = this.#options.gate.admitLocal(opening, this.#peer)
    if (refusal !== null) return [...begin, ...this.#reset(refusal.reason)]
    if (opening.kind === 'probe') {
      this.#state = 'over'
      return [...begin, { type: 'write', side: 'client', bytes: encodeFrame({ type: 'pong', n: 0 }) }, { type: 'close' }]
    }
    this.#state = 'session'
    const early = bytes.length > headerBytes ? this.#onFrames(bytes.subarray(headerBytes)) : []
    return [
      ...begin,
      { type: 'timer', name: 'idle', afterMs: this.#options.sessionIdleMs },
      { type: 'read', side: 'client', limitBytes: MAX_FRAME_BYTES },
      ask({ type: 'session', dialer: opening.dialer, certificate: this.#peer.kind === 'certificate' ? this.#peer.serial : null }),
      ...early,
    ]
  }

  #openConnection(opening: ConnectionOpening): readonly PlaneAction[] {
    const refusal = this.#options.gate.admitConnection(opening, this.#peer)
    if (refusal !== null) return this.#refuse(refusal)
    this.#state = 'asking'
    // From here on bytes stay in the kernel until the database is there.
    return [{ type: 'read', side: 'client', limitBytes: 0 }, ask({ type: 'engine', connection: opening.connection })]
  }

  #onAsking(event: PlaneEvent): readonly PlaneAction[] {
    if (event.type === 'ended') return this.#abandon()
    if (event.type !== 'answered') return []
    const answer = event.answer as EngineAnswer | undefined
    if (answer === undefined || 'unavailable' in answer) return this.#unavailable(answer?.unavailable ?? null)
    this.#state = 'dialling'
    this.#header = answer.header
    this.#rates = answer.rates ?? []
    return [{ type: 'dial', target: answer.target, timeoutMs: this.#options.engineDialTimeoutMs }]
  }

  #onDialling(event: PlaneEvent): readonly PlaneAction[] {
    switch (event.type) {
      case 'dialled':
        this.#state = 'carrying'
        this.#carried = true
        return [...this.#first(), { type: 'write', side: 'client', bytes: Uint8Array.of(STATUS.ok) }, this.#rates.length === 0 ? { type: 'carry' } : { type: 'carry', rates: this.#rates }]
      case 'dial-failed':
        return this.#unavailable(event.reason)
      case 'ended':
        return this.#abandon()
      default:
        return []
    }
  }

  /** At once, not with the client's first bytes: some servers speak first. */
  #first(): readonly PlaneAction[] {
    return this.#header.length === 0 ? [] : [{ type: 'write', side: 'upstream', bytes: this.#header }]
  }

  #onSession(event: PlaneEvent): readonly PlaneAction[] {
    switch (event.type) {
      case 'received':
        return [{ type: 'consume', side: 'client', bytes: event.bytes.length }, ...this.#onFrames(event.bytes)]
      case 'answered': {
        if (event.answer instanceof Uint8Array) return [{ type: 'write', side: 'client', bytes: event.answer }, ask({ type: 'push' })]
        return this.#over({ type: 'close' })
      }
      case 'ended':
        return this.#over({ type: 'close' })
      case 'timer':
        return this.#over({ type: 'reset' })
      default:
        return []
    }
  }

  #onFrames(bytes: Uint8Array): readonly PlaneAction[] {
    const { frames, invalid } = this.#frames.push(bytes)
    if (invalid !== null) return this.#reset('malformed')
    if (frames.length === 0) return []
    const pongs = frames.map(({ n }): PlaneAction => ({ type: 'write', side: 'client', bytes: encodeFrame({ type: 'pong', n }) }))
    return [...pongs, { type: 'timer', name: 'idle', afterMs: this.#options.sessionIdleMs }]
  }

  #unavailable(detail: string | null): readonly PlaneAction[] {
    this.#detail = detail
    return this.#refuse({ status: STATUS.unavailable, reason: 'unavailable' })
  }

  #refuse({ status, reason, farewell }: Refusal): readonly PlaneAction[] {
    this.#refusal = reason
    if (farewell !== undefined) {
      this.#state = 'farewell'
      this.#farewell = farewell
      return [
        { type: 'write', side: 'client', bytes: Uint8Array.of(status) },
        { type: 'timer', name: 'farewell', afterMs: FAREWELL_MS },
        { type: 'read', side: 'client', limitBytes: FAREWELL_BYTES },
      ]
    }
    this.#state = 'over'
    return [{ type: 'write', side: 'client', bytes: Uint8Array.of(status) }, { type: 'close' }]
  }

  /** Said as the answer to what the client sends first: many don't hear what comes unasked. */
  #onFarewell(event: PlaneEvent): readonly PlaneAction[] {
    if (event.type !== 'received' && event.type !== 'ended' && event.type !== 'timer') return []
    // A close over unread bytes could cost it the sentence.
    const taken: readonly PlaneAction[] = event.type === 'received' ? [{ type: 'consume', side: 'client', bytes: event.bytes.length }] : []
    return [...taken, { type: 'write', side: 'client', bytes: this.#farewell }, ...this.#over({ type: 'close' })]
  }

  /** For what can't have come from a dialer of ours: it learns nothing. */
  #reset(reason: RefusalReason): readonly PlaneAction[] {
    this.#refusal = reason
    return this.#over({ type: 'reset' })
  }

  /** The dialer closed before the status byte: it has gone elsewhere. */
  #abandon(): readonly PlaneAction[] {
    return this.#over({ type: 'reset' })
  }

  #over(last: PlaneAction): readonly PlaneAction[] {
    this.#state = 'over'
    return [last]
  }
}

function ask(question: Question): PlaneAction {
  return { type: 'ask', question }
}
