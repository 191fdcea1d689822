/**
 * Carrying: bytes between two endpoints until both have ended or one broke.
 *
 * Each chunk goes from one socket's `data` to the other's write, uncopied. When the other's queue is full the sender isn't
 * read until it has drained, so a slow reader costs one queue and one chunk of memory and the sender feels it.
 *
 * FIN travels as FIN, each way by itself. RST travels as RST and drops what is queued, with one exception: a side that had
 * ended properly and breaks afterwards (a server that answered, closed, and still was sent something) closes the other
 * side gently, so that its last words arrive.
 */
import type { Breakage, Endpoint } from './portable-endpoint.ts'
import type { Side } from './plane.ts'

export interface CarryEnd {
  readonly endedBy: Side
  readonly how: 'end' | Breakage
}

export class Carriage {
  bytesUp = 0
  bytesDown = 0
  readonly #client: Endpoint
  readonly #upstream: Endpoint
  /** Called once; the endpoints close by themselves afterwards. */
  readonly #ended: (end: CarryEnd) => void
  #firstEnd: Side | null = null
  #over = false

  constructor(client: Endpoint, upstream: Endpoint, ended: (end: CarryEnd) => void) {
    this.#client = client
    this.#upstream = upstream
    this.#ended = ended
  }

  /** What was read before is written already, and counted in `bytesUp` and `bytesDown`. */
  start(): void {
    const { ended: clientEnded } = this.#client
    const { ended: upstreamEnded } = this.#upstream
    this.#connect(this.#client, this.#upstream, 'client', (bytes) => (this.bytesUp += bytes))
    this.#connect(this.#upstream, this.#client, 'upstream', (bytes) => (this.bytesDown += bytes))
    if (clientEnded) this.#onEnd(this.#upstream, 'client')
    if (upstreamEnded) this.#onEnd(this.#client, 'upstream')
  }

  #connect(from: Endpoint, to: Endpoint, side: Side, count: (bytes: number) => void): void {
    from.listener = {
      data: (chunk) => {
        count(chunk.length)
        to.write(chunk)
        if (to.full) from.pause()
      },
      end: () => this.#onEnd(to, side),
      failed: (how) => this.#onFailed(from, to, side, how),
      drain: () => to.resume(),
    }
    if (!to.full) from.resume()
  }

  #onEnd(to: Endpoint, side: Side): void {
    to.finish()
    this.#firstEnd ??= side
    if (this.#client.ended && this.#upstream.ended) this.#end({ endedBy: this.#firstEnd, how: 'end' })
  }

  #onFailed(from: Endpoint, to: Endpoint, side: Side, how: Breakage): void {
    from.reset()
    if (from.ended) to.linger()
    else to.reset()
    this.#end({ endedBy: side, how })
  }

  #end(end: CarryEnd): void {
    if (this.#over) return
    this.#over = true
    this.#ended(end)
  }
}
