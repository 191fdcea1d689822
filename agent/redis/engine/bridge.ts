/**
 * How a replica reaches its primary: a listener INSIDE the engine's empty network namespace, whose connections the agent
 * carries over the hop (purpose replication) to the agent of the primary's node. Redis speaks TCP only to its primary.
 *
 * A pure brain; where to dial is asked anew for each connection, because the feed may have moved the primary meanwhile.
 * Redis itself retries every second, so each failure here just resets.
 */
import { STATUS } from '../../../lib/hop/protocol.ts'
import type { Brain, DialTarget, PlaneAction, PlaneEvent } from '../../../lib/plane/plane.ts'

/** What the control side answers: where, and the signed header for this one dial. null: there is no way at present. */
export interface PrimaryDial {
  readonly target: DialTarget
  readonly header: Uint8Array
  /** The session of `header`. */
  readonly session: Uint8Array
}

export interface BridgeOptions {
  readonly dialTimeoutMs: number
  /** From the dial to the status byte; the primary's engine may be starting. */
  readonly statusTimeoutMs: number
  /** The primary's agent didn't know `session`: it restarted. */
  readonly unknownSession: (session: Uint8Array) => void
}

export class BridgeBrain implements Brain {
  readonly #options: BridgeOptions
  #dial: PrimaryDial | null = null
  #carrying = false

  constructor(options: BridgeOptions) {
    this.#options = options
  }

  on(event: PlaneEvent): readonly PlaneAction[] {
    if (this.#carrying) return []
    switch (event.type) {
      case 'accepted':
        return [{ type: 'ask', question: null }]
      case 'answered': {
        this.#dial = (event.answer as PrimaryDial | null | undefined) ?? null
        if (this.#dial === null) return [{ type: 'reset' }]
        return [{ type: 'dial', target: this.#dial.target, timeoutMs: this.#options.dialTimeoutMs }]
      }
      case 'dialled':
        return [
          { type: 'timer', name: 'status', afterMs: this.#options.statusTimeoutMs },
          { type: 'write', side: 'upstream', bytes: this.#dial?.header ?? new Uint8Array() },
          { type: 'read', side: 'upstream', limitBytes: 1 },
        ]
      case 'received':
        return event.side === 'upstream' ? this.#onStatus(event.bytes[0]) : []
      case 'closed':
        return []
      default:
        return [{ type: 'reset' }]
    }
  }

  #onStatus(status: number | undefined): readonly PlaneAction[] {
    if (status === STATUS.unknownSession && this.#dial !== null) this.#options.unknownSession(this.#dial.session)
    if (status !== STATUS.ok) return [{ type: 'reset' }]
    this.#carrying = true
    return [{ type: 'cancel-timer', name: 'status' }, { type: 'consume', side: 'upstream', bytes: 1 }, { type: 'carry' }]
  }
}
