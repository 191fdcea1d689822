/**
 * Carrying: bytes between two endpoints until both have ended or one broke.
 *
 * Each chunk goes from one socket's `data` to the other's write, uncopied, or the short way that endpoints of one kind have
 * among themselves (`carryTo`). When the other's queue is full the sender isn't
 * read until it has drained, so a slow reader costs one queue and one chunk of memory and the sender feels it. A sender
 * isn't read either while a rate's gate is closed to it.
 *
 * FIN travels as FIN, each way by itself. RST travels as RST and drops what is queued, with two exceptions that close the
 * other side gently, so that last words arrive: a side that had ended properly and breaks afterwards (a server that
 * answered, closed, and still was sent something), and a Unix socket, whose kernel says "reset" when its peer closed on
 * unread input and keeps what that peer had said.
 */
import type { Breakage, Endpoint } from './endpoint.ts'
import type { Side } from './plane.ts'
import type { Gate } from './rates.ts'

export interface CarryEnd {
  readonly endedBy: Side
  readonly how: 'end' | Breakage
}

/** null: no rate in that direction. */
export interface Gates {
  readonly up: Gate | null
  readonly down: Gate | null
}

export class Carriage {
  bytesUp = 0
  bytesDown = 0
  readonly #client: Endpoint
  readonly #upstream: Endpoint
  /** Called once; the endpoints close by themselves afterwards. */
  readonly #ended: (end: CarryEnd) => void
  readonly #gates: Gates
  #firstEnd: Side | null = null
  #over = false

  constructor(client: Endpoint, upstream: Endpoint, gates: Gates, ended: (end: CarryEnd) => void) {
    this.#client = client
    this.#upstream = upstream
    this.#gates = gates
    this.#ended = ended
  }

  /** A rate under one of its names has come or gone: what has one is read piece by piece. */
  rateChanged(name: string): void {
    const { up, down } = this.#gates
    if (this.#over || (!up?.hasName(name) && !down?.hasName(name))) return
    this.#readAnew(this.#client, this.#upstream, up)
    this.#readAnew(this.#upstream, this.#client, down)
  }

  #readAnew(from: Endpoint, to: Endpoint, gate: Gate | null): void {
    from.carryTo(to, gate?.limits !== true)
    if (to.full || gate?.waiting === true) return
    from.pause()
    from.resume()
  }

  /** The connection is over, whoever ended it: its places in queues are free. Idempotent. */
  close(): void {
    this.#gates.up?.close()
    this.#gates.down?.close()
  }

  /** What was read before is written already, and counted in `bytesUp` and `bytesDown`. */
  start(): void {
    const { ended: clientEnded } = this.#client
    const { ended: upstreamEnded } = this.#upstream
    const { up, down } = this.#gates
    this.#connect(this.#client, this.#upstream, 'client', up, down, (bytes) => (this.bytesUp += bytes))
    this.#connect(this.#upstream, this.#client, 'upstream', down, up, (bytes) => (this.bytesDown += bytes))
    this.#begin(this.#client, this.#upstream, up, this.bytesUp)
    this.#begin(this.#upstream, this.#client, down, this.bytesDown)
    if (clientEnded) this.#onEnd(this.#upstream, 'client')
    if (upstreamEnded) this.#onEnd(this.#client, 'upstream')
  }

  /** `back`: the gate of the other direction, whose reader `from` has been slow. */
  #connect(from: Endpoint, to: Endpoint, side: Side, gate: Gate | null, back: Gate | null, count: (bytes: number) => void): void {
    const moved = (bytes: number): void => {
      count(bytes)
      if (gate?.pass(bytes) === false || to.full) from.pause()
    }
    from.carryTo(to, gate?.limits !== true)
    from.listener = {
      data: (chunk) => {
        to.write(chunk)
        moved(chunk.length)
      },
      moved,
      end: () => this.#onEnd(to, side),
      failed: (how) => this.#onFailed(from, to, side, how),
      drain: () => {
        if (back?.waiting !== true) to.resume()
      },
    }
  }

  /** `bytes` have passed before the gate was there. */
  #begin(from: Endpoint, to: Endpoint, gate: Gate | null, bytes: number): void {
    if (gate) {
      gate.onOpen = () => {
        if (!to.full) from.resume()
      }
    }
    // Nothing more is read for a name in debt: else each new connection would have a chunk for free.
    if (gate?.pass(bytes) === false) from.pause()
    else if (!to.full) from.resume()
  }

  #onEnd(to: Endpoint, side: Side): void {
    to.finish()
    this.#firstEnd ??= side
    if (this.#client.ended && this.#upstream.ended) this.#end({ endedBy: this.#firstEnd, how: 'end' })
  }

  #onFailed(from: Endpoint, to: Endpoint, side: Side, how: Breakage): void {
    from.reset()
    if (from.ended || from.unix) to.linger()
    else to.reset()
    this.#end({ endedBy: side, how })
  }

  #end(end: CarryEnd): void {
    if (this.#over) return
    this.#over = true
    this.close()
    this.#ended(end)
  }
}
