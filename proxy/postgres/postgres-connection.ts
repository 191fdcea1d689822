/**
 * The brain around a connection's brain (connection.ts) that knows one thing about PostgreSQL: a CancelRequest comes on a
 * connection of its own and must reach the node that serves the query, which need not be the one that is nearest now.
 *
 * Of services of other kinds nothing is read: their events pass through. Of kind postgres, where the client always speaks
 * first, the first message is read after isolation and before anything is dialled:
 *
 *   opening ── session ──────────────────────────────────────────> through (the inner brain: candidates, dial, carry)
 *      │  └─── SSLRequest, GSSENCRequest ─> through ─> negotiating ──(not refused)──> through
 *      │                                                   │   ^
 *      │                                                 (`N`) └── again ──(no CancelRequest)──> through
 *      └────── CancelRequest ─> cancelling ─> over           <───────┘
 *
 * What is cancelled where is the control side's (cancellations.ts): the request goes to every node that may serve it.
 * A CancelRequest inside TLS can't be seen here; it goes to the nearest node like any connection.
 */
import type { Brain, CarryResult, PlaneAction, PlaneEvent, SocketAddress } from '../../lib/plane/plane.ts'
import type { Admission, ConnectionRecord, Route } from '../connection-record.ts'
import { MAX_STARTUP_BYTES, readStartup } from './startup.ts'

/** Asked through the plane; answered when every node that may serve the query has been told, or was given up. */
export interface CancelQuestion {
  readonly kind: 'cancel'
  readonly route: Route
  readonly source: SocketAddress
  readonly destination: SocketAddress
  /** The CancelRequest, whole. Holds a secret of the client's. */
  readonly message: Uint8Array
}

export interface PostgresOptions {
  readonly id: number
  /** Asked once per connection. */
  readonly admit: (source: SocketAddress, destination: SocketAddress) => Admission
  /** The brain of a connection whose admission is decided by `route`. */
  readonly session: (route: (source: SocketAddress, destination: SocketAddress) => Admission) => Brain
  /** For the client's first message, and for each step of a negotiation. */
  readonly startupTimeoutMs: number
  /** Of a connection that the inner brain never heard of. */
  readonly ended: (record: ConnectionRecord) => void
}

type State = 'new' | 'opening' | 'through' | 'negotiating' | 'again' | 'cancelling' | 'over'
type Accepted = Extract<PlaneEvent, { type: 'accepted' }>

const NOTHING: readonly PlaneAction[] = []
const TIMER = 'startup'
const STOP_TIMER: PlaneAction = { type: 'cancel-timer', name: TIMER }
/** Bytes of the client stay in the kernel. */
const READ_NO_MORE: PlaneAction = { type: 'read', side: 'client', limitBytes: 0 }
const READ_STARTUP: PlaneAction = { type: 'read', side: 'client', limitBytes: MAX_STARTUP_BYTES }
/** GSSENCRequest, then SSLRequest: there is no third. */
const MAX_NEGOTIATIONS = 2
const REFUSED = 'N'.charCodeAt(0)

export class PostgresConnection implements Brain {
  readonly #options: PostgresOptions
  readonly #inner: Brain
  #state: State = 'new'
  #admission: Admission | null = null
  #accepted: Accepted | null = null
  /** Whether the inner brain has heard of the connection: it reports the end then. */
  #begun = false
  #outcome: 'client-gone' | 'client-silent' | 'cancel-request' | 'cut' = 'client-gone'
  /** A question about encryption that the upstream has yet to get, and how many there were. */
  #negotiation: Uint8Array | null = null
  #negotiations = 0
  /** What the inner brain said last, held back while the upstream is asked. */
  #carry: PlaneAction = { type: 'carry' }
  #question: CancelQuestion | null = null

  constructor(options: PostgresOptions) {
    this.#options = options
    this.#inner = options.session((source, destination) => this.#admission ?? options.admit(source, destination))
  }

  on(event: PlaneEvent): readonly PlaneAction[] {
    if (event.type === 'closed') return this.#closed(event.result)
    switch (this.#state) {
      case 'new':
        return event.type === 'accepted' ? this.#open(event) : NOTHING
      case 'opening':
        return this.#onOpening(event)
      case 'through':
        return this.#through(event)
      case 'negotiating':
        return this.#onNegotiating(event)
      case 'again':
        return this.#onAgain(event)
      case 'cancelling':
        return event.type === 'answered' && event.question === this.#question ? this.#end({ type: 'close' }) : NOTHING
      case 'over':
    }
    return NOTHING
  }

  #open(event: Accepted): readonly PlaneAction[] {
    const { source, destination } = event
    this.#accepted = event
    if (source && destination) this.#admission = this.#options.admit(source, destination)
    // Where TLS ends here, the first bytes are the inner brain's to read.
    if (this.#admission?.allowed !== true || this.#admission.kind !== 'postgres' || this.#admission.tls !== undefined) return this.#begin()
    this.#state = 'opening'
    return [this.#startTimer(), READ_STARTUP]
  }

  /** From here on the connection is the inner brain's. */
  #begin(): readonly PlaneAction[] {
    this.#state = 'through'
    this.#begun = true
    return this.#accepted === null ? NOTHING : this.#inner.on(this.#accepted)
  }

  #onOpening(event: PlaneEvent): readonly PlaneAction[] {
    switch (event.type) {
      case 'received':
        return this.#first(event.bytes)
      case 'timer':
        this.#outcome = 'client-silent'
        return this.#end({ type: 'reset' })
      case 'ended':
        return this.#end({ type: 'close' })
      case 'failed':
        this.#state = 'over'
        return NOTHING
      default:
        return NOTHING
    }
  }

  #first(bytes: Uint8Array): readonly PlaneAction[] {
    const startup = readStartup(bytes)
    if (startup.state === 'incomplete') return NOTHING
    if (startup.state === 'cancel') return this.#cancel(bytes.subarray(0, startup.bytes))
    if (startup.state === 'negotiation') this.#negotiation = Uint8Array.from(bytes)
    return [STOP_TIMER, READ_NO_MORE, ...this.#begin()]
  }

  /** The inner brain decides; only the moment at which bytes would begin to move is watched for. */
  #through(event: PlaneEvent): readonly PlaneAction[] {
    const actions = this.#inner.on(event)
    if (this.#negotiation === null) return actions
    const carry = actions.find(({ type }) => type === 'carry')
    if (carry === undefined) return actions
    this.#carry = carry
    return [...actions.filter((action) => action !== carry), ...this.#negotiate(this.#negotiation)]
  }

  /** Asks the upstream what the client asked, alone: its answer decides whether the next message can be read here. */
  #negotiate(question: Uint8Array): readonly PlaneAction[] {
    this.#state = 'negotiating'
    this.#negotiation = null
    this.#negotiations++
    return [
      { type: 'write', side: 'upstream', bytes: question },
      { type: 'consume', side: 'client', bytes: question.length },
      READ_NO_MORE,
      { type: 'read', side: 'upstream', limitBytes: 1 },
      this.#startTimer(),
    ]
  }

  #onNegotiating(event: PlaneEvent): readonly PlaneAction[] {
    if (event.type === 'failed') return event.side === 'upstream' ? this.#end({ type: 'reset' }) : NOTHING
    const answered = event.type === 'received' && event.side === 'upstream'
    if (answered && event.bytes.length === 1 && event.bytes[0] === REFUSED) {
      this.#state = 'again'
      return [
        { type: 'consume', side: 'upstream', bytes: 1 },
        { type: 'write', side: 'client', bytes: Uint8Array.of(REFUSED) },
        { type: 'read', side: 'upstream', limitBytes: 0 },
        READ_STARTUP,
        this.#startTimer(),
      ]
    }
    return answered || event.type === 'ended' || event.type === 'timer' ? this.#carryOn() : NOTHING
  }

  #onAgain(event: PlaneEvent): readonly PlaneAction[] {
    if (event.type === 'failed') return event.side === 'upstream' ? this.#end({ type: 'reset' }) : NOTHING
    if (event.type === 'ended' || event.type === 'timer') return this.#carryOn()
    if (event.type !== 'received' || event.side !== 'client') return NOTHING
    const startup = readStartup(event.bytes)
    if (startup.state === 'incomplete') return NOTHING
    if (startup.state === 'cancel') return this.#cancel(event.bytes.subarray(0, startup.bytes))
    return startup.state === 'negotiation' && this.#negotiations < MAX_NEGOTIATIONS ? this.#negotiate(Uint8Array.from(event.bytes)) : this.#carryOn()
  }

  #carryOn(): readonly PlaneAction[] {
    this.#state = 'through'
    return [STOP_TIMER, this.#carry]
  }

  #cancel(message: Uint8Array): readonly PlaneAction[] {
    const { source, destination } = this.#accepted ?? {}
    if (this.#admission?.allowed !== true || !source || !destination) return this.#end({ type: 'reset' })
    this.#state = 'cancelling'
    this.#outcome = 'cancel-request'
    this.#question = { kind: 'cancel', route: routeOf(this.#admission), source, destination, message: Uint8Array.from(message) }
    return [STOP_TIMER, READ_NO_MORE, { type: 'ask', question: this.#question }]
  }

  #end(last: PlaneAction): readonly PlaneAction[] {
    this.#state = 'over'
    return [last]
  }

  #startTimer(): PlaneAction {
    return { type: 'timer', name: TIMER, afterMs: this.#options.startupTimeoutMs }
  }

  #closed(result: CarryResult): readonly PlaneAction[] {
    const wasNew = this.#state === 'new'
    this.#state = 'over'
    if (this.#begun || wasNew) return this.#inner.on({ type: 'closed', result })
    if (result.how === 'cut') this.#outcome = 'cut'
    const { source = null, destination = null } = this.#accepted ?? {}
    const route = this.#admission?.allowed === true ? routeOf(this.#admission) : null
    const { bytesUp, bytesDown, durationMs, endedBy, how } = result
    const nothing = { denial: null, tls: null, node: null, attempts: [], connectMs: null }
    this.#options.ended({ id: this.#options.id, source, destination, route, ...nothing, bytesUp, bytesDown, durationMs, outcome: this.#outcome, endedBy, how })
    return NOTHING
  }
}

function routeOf({ network, org, service, address, generation }: Route): Route {
  return { network, org, service, address, generation }
}
