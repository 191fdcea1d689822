/**
 * One connection through the proxy, as a pure state machine: accepted -> isolation -> route -> nearest candidate that
 * answers -> header -> carried -> one record (ARCHITECTURE.md, "Following one connection").
 *
 * It opens no socket, reads no clock and logs nothing: routes, candidates, headers and time are injected, a plane
 * performs its actions (lib/plane/plane.ts). No payload of the client is read here, so a dial can be repeated elsewhere
 * without a command being executed twice: a signed hop's status byte comes before any payload.
 *
 * When nobody took it, all are asked again after a rest, until the deadline: an agent or an engine that restarts costs its
 * clients a moment, not an error.
 *
 * A connection beyond a limit waits for its turn before anything else happens. An address with a TLS policy looks at what
 * the client says first (tls/client-tls.ts), before anybody is dialled.
 *
 *   start -> (denied, no candidate: ending) -> [waiting] -> [tls] -> [session] -> dialling -> [status] -> carrying -> ended
 *                                                                       └──── resting ────┘
 */
import type { NodeRow } from '../lib/feed/messages.ts'
import { STATUS } from '../lib/hop/protocol.ts'
import type { Brain, CarryResult, DialTarget, PlaneAction, PlaneEvent, SocketAddress } from '../lib/plane/plane.ts'
export type * from './connection-record.ts'
import type { Admission, Attempt, AttemptOutcome, ConnectionOutcome, ConnectionRecord, Denial, Route } from './connection-record.ts'
import { ClientTls } from './tls/client-tls.ts'
import type { ClientTlsRecord, ClientTlsStep, TlsEdge } from './tls/client-tls.ts'

export interface Candidate {
  readonly node: NodeRow
}

export interface Opening {
  readonly target: DialTarget
  /** The PROXY header, first on the wire. */
  readonly bytes: Uint8Array
  /** A signed hop answers one status byte before anything else; payload waits for it. */
  readonly expectsStatus: boolean
}

/** Asked through the plane; the answer `true` means that a session is open again. */
export interface SessionQuestion {
  readonly kind: 'session'
  readonly node: string
  /** The one that the node doesn't know any more, to be replaced; false: merely wait for one. */
  readonly reopen: boolean
}

/** Asked through the plane; the answer `true` means that the limits let it in now. */
export interface TurnQuestion {
  readonly kind: 'turn'
}

export interface ConnectionOptions {
  readonly id: number
  readonly route: (source: SocketAddress, destination: SocketAddress) => Admission
  /** Nearest first, only healthy ones that hold the service; read lazily, one per try. */
  readonly candidates: (route: Route) => Iterable<Candidate>
  /** null while there is no session with a signed node. Called anew for each try: headers are never sent twice. */
  readonly header: (candidate: Candidate, route: Route, source: SocketAddress, destination: SocketAddress, tls: ClientTlsRecord | null) => Opening | null
  readonly tls: TlsEdge
  /** Milliseconds, monotonic. */
  readonly now: () => number
  /** Passive health: called once per try. */
  readonly dialResult: (node: string, service: string, outcome: AttemptOutcome, ms: number) => void
  readonly ended: (record: ConnectionRecord) => void
  /** Names of the plane's rates that its bytes count for. */
  readonly rates?: (route: Route) => readonly string[]
  /** For one try: session, dial, TLS and status byte together. A far node needs more than a near one. */
  readonly connectTimeoutMs: (candidate: Candidate) => number
  /** For all candidates together. */
  readonly deadlineMs: number
}

type State = 'new' | 'waiting' | 'tls' | 'session' | 'dialling' | 'status' | 'resting' | 'carrying' | 'ending' | 'ended'

const NOTHING: readonly PlaneAction[] = []
/** Before all candidates are asked again; doubles each time, up to a second. */
const FIRST_REST_MS = 100
const LONGEST_REST_MS = 1000

/** Status byte -> outcome of the try; 0 and 1 are handled apart. */
const STATUS_OUTCOMES: ReadonlyMap<number, AttemptOutcome> = new Map([
  [STATUS.refused, 'rejected'],
  [STATUS.unavailable, 'unavailable'],
  [STATUS.unknownService, 'unknown-service'],
  [STATUS.overloaded, 'overloaded'],
])

export class Connection implements Brain {
  readonly #options: ConnectionOptions
  #state: State = 'new'
  #source: SocketAddress | null = null
  #destination: SocketAddress | null = null
  #denial: Denial | null = null
  #route: Route | null = null
  #candidates: Iterator<Candidate> | null = null
  #candidate: Candidate | null = null
  #opening: Opening | null = null
  #question: SessionQuestion | TurnQuestion | null = null
  /** The session of the present candidate was asked for already: a second lack of one is a failure. */
  #asked = false
  #restMs = FIRST_REST_MS
  #clientTls: ClientTls | null = null
  #tls: ClientTlsRecord | null = null
  /** Accepted, or done with TLS: the deadline counts from here. */
  #sinceMs = 0
  #triedAtMs = 0
  #connectMs: number | null = null
  #outcome: ConnectionOutcome = 'client-gone'
  readonly #attempts: Attempt[] = []

  constructor(options: ConnectionOptions) {
    this.#options = options
  }

  on(event: PlaneEvent): readonly PlaneAction[] {
    if (this.#state === 'ended') return NOTHING
    switch (event.type) {
      case 'accepted':
        return this.#state === 'new' ? this.#accepted(event.source, event.destination) : NOTHING
      case 'dialled':
        return this.#state === 'dialling' ? this.#dialled() : NOTHING
      case 'dial-failed':
        return this.#state === 'dialling' ? this.#failed(event.reason) : NOTHING
      case 'received':
        return event.side === 'upstream' ? this.#status(event.bytes) : this.#continueTls((tls) => tls.received(event.bytes))
      case 'secured':
        return this.#continueTls((tls) => tls.secured(event.session))
      case 'secure-failed':
        return this.#continueTls((tls) => tls.secureFailed(event.reason))
      case 'ended':
      case 'failed':
        return this.#lost(event.type, event.side)
      case 'answered':
        return event.question === this.#question ? this.#answered(event.answer) : NOTHING
      case 'timer':
        return this.#timer(event.name)
      case 'closed':
        this.#closed(event.result)
    }
    return NOTHING
  }

  #accepted(source: SocketAddress | null, destination: SocketAddress | null): readonly PlaneAction[] {
    this.#sinceMs = this.#options.now()
    this.#source = source
    this.#destination = destination
    const admission: Admission =
      source && destination
        ? this.#options.route(source, destination)
        : { allowed: false, reason: 'not-flycast', sourceNetwork: null, network: null }
    if (!admission.allowed) {
      this.#denial = { reason: admission.reason, sourceNetwork: admission.sourceNetwork, network: admission.network }
      return this.#end('denied')
    }
    const { network, org, service, address, generation, tls, name } = admission
    this.#route = { network, org, service, address, generation, ...(tls && { tls }), ...(name !== undefined && { name }) }
    const deadline: PlaneAction = { type: 'timer', name: 'deadline', afterMs: this.#options.deadlineMs }
    return [deadline, ...(admission.waits === true ? this.#wait() : this.#enter(this.#route))]
  }

  #wait(): readonly PlaneAction[] {
    this.#state = 'waiting'
    this.#question = { kind: 'turn' }
    return [{ type: 'ask', question: this.#question }]
  }

  /** It had its turn, or was not let in. */
  #turn(entered: boolean): readonly PlaneAction[] {
    if (!this.#route) return this.#end('denied')
    if (entered) return this.#enter(this.#route)
    const { network } = this.#route
    this.#denial = { reason: 'limit', sourceNetwork: network, network }
    return this.#end('denied')
  }

  #enter(route: Route): readonly PlaneAction[] {
    if (!route.tls) return this.#begin(route)
    this.#state = 'tls'
    this.#clientTls = new ClientTls({ ...route, tls: route.tls }, this.#options.tls)
    // The client's time isn't the nodes': TLS has limits of its own.
    return [{ type: 'cancel-timer', name: 'deadline' }, ...this.#follow(this.#clientTls.start())]
  }

  #continueTls(step: (tls: ClientTls) => ClientTlsStep): readonly PlaneAction[] {
    return this.#state === 'tls' && this.#clientTls ? this.#follow(step(this.#clientTls)) : NOTHING
  }

  #follow({ actions, record }: ClientTlsStep): readonly PlaneAction[] {
    if (!record || !this.#route) return actions
    this.#tls = record
    if (record.mode === 'failed') {
      this.#outcome = 'tls-failed'
      this.#state = 'ending'
      return actions
    }
    this.#sinceMs = this.#options.now()
    return [...actions, { type: 'timer', name: 'deadline', afterMs: this.#options.deadlineMs }, ...this.#begin(this.#route)]
  }

  /** From the nearest candidate on, as they stand now. */
  #begin(route: Route): readonly PlaneAction[] {
    this.#candidates = this.#options.candidates(route)[Symbol.iterator]()
    return this.#next()
  }

  /** The next candidate; after the last one a rest; without any the end. */
  #next(): readonly PlaneAction[] {
    if (this.#options.now() - this.#sinceMs >= this.#options.deadlineMs) return this.#end('deadline')
    const next = this.#candidates?.next()
    if (!next || next.done) return this.#attempts.length === 0 ? this.#end('no-candidate') : this.#rest()
    this.#candidate = next.value
    this.#asked = false
    return this.#try()
  }

  #rest(): readonly PlaneAction[] {
    const afterMs = this.#restMs
    this.#restMs = Math.min(LONGEST_REST_MS, afterMs * 2)
    this.#state = 'resting'
    return [
      { type: 'cancel-timer', name: 'candidate' },
      { type: 'timer', name: 'rest', afterMs },
    ]
  }

  #try(): readonly PlaneAction[] {
    this.#triedAtMs = this.#options.now()
    return [{ type: 'timer', name: 'candidate', afterMs: this.#patienceMs() }, ...this.#dial()]
  }

  #patienceMs(): number {
    return this.#candidate ? this.#options.connectTimeoutMs(this.#candidate) : 0
  }

  #dial(): readonly PlaneAction[] {
    const { header } = this.#options
    if (!this.#candidate || !this.#route || !this.#source || !this.#destination) return this.#end('no-candidate')
    this.#opening = header(this.#candidate, this.#route, this.#source, this.#destination, this.#tls)
    if (!this.#opening) return this.#asked ? this.#failed('no-session') : this.#ask(false)
    this.#state = 'dialling'
    return [{ type: 'dial', target: this.#opening.target, timeoutMs: this.#patienceMs() }]
  }

  #ask(reopen: boolean): readonly PlaneAction[] {
    if (!this.#candidate) return NOTHING
    this.#asked = true
    this.#state = 'session'
    this.#question = { kind: 'session', node: this.#candidate.node.id, reopen }
    return [{ type: 'ask', question: this.#question }]
  }

  #answered(answer: unknown): readonly PlaneAction[] {
    this.#question = null
    if (this.#state === 'waiting') return this.#turn(answer === true)
    if (this.#state !== 'session') return NOTHING
    return answer === true ? this.#dial() : this.#failed('no-session')
  }

  #dialled(): readonly PlaneAction[] {
    if (!this.#opening) return NOTHING
    const write: PlaneAction = { type: 'write', side: 'upstream', bytes: this.#opening.bytes }
    if (!this.#opening.expectsStatus) return this.#carry([write])
    this.#state = 'status'
    return [write, { type: 'read', side: 'upstream', limitBytes: 1 }]
  }

  /** What follows the byte already is payload of a server that speaks first; the plane carries it. */
  #status(bytes: Uint8Array): readonly PlaneAction[] {
    const status = bytes[0]
    if (this.#state !== 'status' || status === undefined) return NOTHING
    if (status === STATUS.ok) return this.#carry([{ type: 'consume', side: 'upstream', bytes: 1 }])
    if (status !== STATUS.unknownSession) return this.#failed(STATUS_OUTCOMES.get(status) ?? 'protocol')
    if (this.#asked) return this.#failed('unknown-session')
    this.#report('unknown-session')
    this.#triedAtMs = this.#options.now()
    return [{ type: 'timer', name: 'candidate', afterMs: this.#patienceMs() }, ...this.#ask(true)]
  }

  #carry(first: readonly PlaneAction[]): readonly PlaneAction[] {
    this.#report('ok')
    this.#connectMs = this.#options.now() - this.#sinceMs
    this.#state = 'carrying'
    this.#candidates?.return?.()
    const rates = this.#route && this.#options.rates?.(this.#route)
    const carry: PlaneAction = { type: 'carry', ...(rates && { rates }) }
    return [...first, { type: 'cancel-timer', name: 'candidate' }, { type: 'cancel-timer', name: 'deadline' }, carry]
  }

  #failed(outcome: AttemptOutcome): readonly PlaneAction[] {
    this.#report(outcome)
    return this.#next()
  }

  #report(outcome: AttemptOutcome): void {
    if (!this.#candidate || !this.#route) return
    const attempt: Attempt = { node: this.#candidate.node.id, ms: this.#options.now() - this.#triedAtMs, outcome }
    this.#attempts.push(attempt)
    this.#options.dialResult(attempt.node, this.#route.service, outcome, attempt.ms)
  }

  /** A client that sent FIN may still read the answer; one that broke is ended by the plane, `closed` follows. */
  #lost(how: 'ended' | 'failed', side: 'client' | 'upstream'): readonly PlaneAction[] {
    if (side === 'client') {
      if (how === 'ended') return this.#continueTls((tls) => tls.ended())
      if (this.#isConnecting() || this.#state === 'resting' || this.#state === 'waiting' || this.#state === 'tls') {
        this.#outcome = 'client-gone'
        this.#state = 'ending'
      }
      return NOTHING
    }
    return this.#state === 'status' ? this.#failed('reset') : NOTHING
  }

  #timer(name: string): readonly PlaneAction[] {
    if (this.#state === 'resting') {
      if (name === 'rest' && this.#route) return this.#begin(this.#route)
      return name === 'deadline' ? this.#end('unanswered') : NOTHING
    }
    if (this.#state === 'waiting' && name === 'deadline') return this.#turn(false)
    if (this.#state === 'tls') return this.#continueTls((tls) => tls.timer(name))
    if (!this.#isConnecting()) return NOTHING
    const outcome = this.#state === 'session' ? 'no-session' : 'timeout'
    if (name === 'candidate') return this.#failed(outcome)
    if (name !== 'deadline') return NOTHING
    this.#report(outcome)
    return this.#end('deadline')
  }

  #isConnecting(): boolean {
    return this.#state === 'session' || this.#state === 'dialling' || this.#state === 'status'
  }

  #end(outcome: ConnectionOutcome): readonly PlaneAction[] {
    this.#outcome = outcome
    this.#state = 'ending'
    this.#candidates?.return?.()
    return [{ type: 'reset' }]
  }

  #closed(result: CarryResult): void {
    this.#clientTls?.closed()
    if (result.how === 'cut') this.#outcome = 'cut'
    else if (this.#state === 'carrying') this.#outcome = 'carried'
    else if (this.#state !== 'ending') this.#outcome = 'client-gone'
    this.#state = 'ended'
    const { bytesUp, bytesDown, durationMs, endedBy, how } = result
    const node = this.#connectMs === null ? null : (this.#candidate?.node.id ?? null)
    this.#options.ended({
      id: this.#options.id,
      source: this.#source,
      destination: this.#destination,
      denial: this.#denial,
      route: this.#route,
      tls: this.#tls,
      node,
      attempts: this.#attempts,
      bytesUp,
      bytesDown,
      durationMs,
      connectMs: this.#connectMs,
      outcome: this.#outcome,
      endedBy,
      how,
    })
  }
}
