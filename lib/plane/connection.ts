/**
 * One connection, on any plane: asks its brain, performs the answers on two endpoints.
 *
 * Events are queued while a brain is being asked, so it is never entered twice. The connection is over when a result
 * is fixed (reset, close, cut, both ends, a breakage); `closed` follows when both descriptors are closed.
 */
import type { Brain, CarryResult, DialTarget, PlaneAction, PlaneEvent, Side, TlsFailure, TlsServer } from './plane.ts'
import { Carriage } from './carriage.ts'
import type { Dial, Dialling } from './dialling.ts'
import { SILENT } from './endpoint.ts'
import type { Breakage, Endpoint } from './endpoint.ts'
import type { SecureServers } from './portable-secure.ts'
import type { Rates } from './rates.ts'

export interface ConnectionHost {
  readonly answer: ((question: unknown) => Promise<unknown>) | undefined
  /** A brain threw: a defect of ours. The connection is reset. */
  readonly defect: (error: unknown) => void
  readonly closed: () => void
  readonly dial: Dial
  readonly rates: Rates
  readonly secureServers: SecureServers
}

/** What one side has read and not consumed, and what waits to be written to it. */
class Buffers {
  held: Uint8Array = new Uint8Array()
  limitBytes = 0
  readonly outgoing: Uint8Array[] = []
}

/** Without meaning once carrying has begun. */
const MOVES_BYTES: ReadonlySet<PlaneAction['type']> = new Set<PlaneAction['type']>(['read', 'consume', 'write', 'secure', 'dial', 'carry'])

/** A brain's words may pile up this far before a peer that doesn't read them counts as broken. */
const MAX_QUEUED_BYTES = 1 << 20

type Ending = Pick<CarryResult, 'endedBy' | 'how'>

export class Connection {
  /** Another one once it is released for TLS. */
  #client: Endpoint
  readonly #brain: Brain
  readonly #host: ConnectionHost
  readonly #acceptedAtMs = performance.now()
  readonly #timers = new Map<string, NodeJS.Timeout>()
  readonly #events: PlaneEvent[] = []
  #asking = false
  #upstream: Endpoint | null = null
  #dialling: Dialling | null = null
  /** Endpoints whose descriptor isn't closed yet. */
  readonly #open = new Set<Endpoint>()
  #up = new Buffers()
  readonly #down = new Buffers()
  #securing = false
  #handshake: { abandon(): void } | null = null
  #carriage: Carriage | null = null
  #ending: Ending | null = null
  #closed = false

  /** `client` arrives paused; its listener is replaced. */
  constructor(client: Endpoint, brain: Brain, host: ConnectionHost) {
    this.#client = client
    this.#brain = brain
    this.#host = host
    this.#adopt(client, 'client', this.#down)
  }

  start(accepted: PlaneEvent): void {
    if (this.#client.failed) this.#broke('client', 'reset')
    this.#dispatch(accepted)
  }

  /** Looks after sides that nothing is read from at present. */
  probe(): void {
    if (this.#ending) return
    this.#client.probe()
    this.#upstream?.probe()
  }

  rateChanged(name: string): void {
    if (!this.#ending) this.#carriage?.rateChanged(name)
  }

  cut(): void {
    this.#finish({ endedBy: 'local', how: 'cut' })
    this.#client.reset()
    this.#dropUpstream()
    this.#closeIfGone()
  }

  #dispatch(event: PlaneEvent): void {
    this.#events.push(event)
    if (this.#asking) return
    this.#asking = true
    for (let next = this.#events.shift(); next; next = this.#events.shift()) this.#handle(next)
    this.#asking = false
  }

  #handle(event: PlaneEvent): void {
    if (this.#closed) return
    if (event.type === 'closed') this.#closed = true
    try {
      for (const action of this.#brain.on(event)) if (!this.#ending) this.#perform(action)
    } catch (error) {
      this.#host.defect(error)
      if (!this.#ending) this.#perform({ type: 'reset' })
    }
    if (event.type === 'closed') this.#host.closed()
    else if (!this.#ending) this.#flush()
  }

  #perform(action: PlaneAction): void {
    if (this.#carriage && MOVES_BYTES.has(action.type)) return
    switch (action.type) {
      case 'reset':
        this.#finish({ endedBy: 'local', how: 'reset' })
        this.#client.reset()
        this.#dropUpstream()
        return this.#closeIfGone()
      case 'close':
        this.#flush()
        if (this.#ending) return
        this.#finish({ endedBy: 'local', how: 'end' })
        this.#client.linger()
        this.#dropUpstream()
        return this.#closeIfGone()
      case 'read':
        return this.#read(action.side, action.limitBytes)
      case 'consume': {
        const buffers = this.#of(action.side)
        buffers.held = buffers.held.subarray(action.bytes)
        return this.#endpoint(action.side)?.[this.#wantsMore(buffers) ? 'resume' : 'pause']()
      }
      case 'secure':
        return this.#secure(action.server, action.timeoutMs)
      case 'dial':
        return this.#dial(action.target, action.timeoutMs)
      case 'write':
        this.#of(action.side).outgoing.push(action.bytes)
        return
      case 'timer':
        return this.#setTimer(action.name, action.afterMs)
      case 'cancel-timer':
        clearTimeout(this.#timers.get(action.name))
        this.#timers.delete(action.name)
        return
      case 'ask':
        return this.#ask(action.question)
      case 'carry':
        return this.#carry(action.rates ?? [])
    }
  }

  #of(side: Side): Buffers {
    return side === 'client' ? this.#down : this.#up
  }

  #endpoint(side: Side): Endpoint | null {
    return side === 'client' ? this.#client : this.#upstream
  }

  #wantsMore(buffers: Buffers): boolean {
    return buffers.held.length < buffers.limitBytes
  }

  #read(side: Side, limitBytes: number): void {
    const buffers = this.#of(side)
    buffers.limitBytes = limitBytes
    if (this.#wantsMore(buffers)) this.#endpoint(side)?.resume()
    else this.#endpoint(side)?.pause()
  }

  /** Listens to an endpoint until carrying begins. */
  #adopt(endpoint: Endpoint, side: Side, buffers: Buffers): void {
    this.#open.add(endpoint)
    this.#listen(endpoint, side, buffers)
    endpoint.onGone = () => {
      this.#open.delete(endpoint)
      this.#closeIfGone()
    }
  }

  #listen(endpoint: Endpoint, side: Side, buffers: Buffers): void {
    endpoint.listener = {
      data: (chunk) => {
        buffers.held = buffers.held.length === 0 ? chunk : Buffer.concat([buffers.held, chunk])
        if (!this.#wantsMore(buffers)) endpoint.pause()
        this.#dispatch({ type: 'received', side, bytes: buffers.held })
      },
      moved: () => undefined,
      end: () => this.#dispatch({ type: 'ended', side }),
      failed: (how) => this.#broke(side, how),
      drain: () => undefined,
    }
  }

  #broke(side: Side, how: Breakage): void {
    if (this.#ending) return
    if (side === 'client') {
      this.#finish({ endedBy: 'client', how })
      this.#client.reset()
      this.#dropUpstream()
    }
    this.#dispatch({ type: 'failed', side })
    this.#closeIfGone()
  }

  #secure(server: TlsServer, timeoutMs: number): void {
    if (this.#securing) return
    this.#securing = true
    const { held } = this.#down
    this.#down.held = new Uint8Array()
    this.#down.limitBytes = 0
    // Of the endpoint only a breakage is heard until then.
    this.#client.listener = { ...SILENT, failed: () => this.#secureFailed('closed') }
    this.#client.release(held, (tcp, endpoint) => {
      this.#open.delete(this.#client)
      this.#client = endpoint
      this.#adopt(endpoint, 'client', this.#down)
      const handshake = this.#host.secureServers.begin(tcp, server, timeoutMs, (result) => {
        if (this.#ending) return
        if (typeof result === 'string') return this.#secureFailed(result)
        endpoint.secured(result.socket)
        this.#listen(endpoint, 'client', this.#down)
        this.#dispatch({ type: 'secured', side: 'client', session: result.session })
      })
      this.#handshake = handshake
      endpoint.listener = { ...SILENT, failed: () => handshake.closed() }
    })
  }

  /** Node has sent the alert and closes; who is late gets no more than a reset. */
  #secureFailed(reason: TlsFailure): void {
    this.#finish({ endedBy: reason === 'timeout' ? 'local' : 'client', how: 'error' })
    this.#client.listener = SILENT
    if (reason === 'timeout' || this.#handshake === null) this.#client.reset()
    this.#dropUpstream()
    this.#dispatch({ type: 'secure-failed', side: 'client', reason })
    this.#closeIfGone()
  }

  #dial(target: DialTarget, timeoutMs: number): void {
    this.#dropUpstream()
    const buffers = new Buffers()
    this.#up = buffers
    this.#dialling = this.#host.dial(target, timeoutMs, (result) => {
      this.#dialling = null
      if (typeof result === 'string') return this.#dispatch({ type: 'dial-failed', reason: result })
      this.#upstream = result
      this.#adopt(result, 'upstream', buffers)
      if (buffers.limitBytes > 0) result.resume()
      return this.#dispatch({ type: 'dialled' })
    })
  }

  /** Gone without a word to the brain, bytes held and queued included. */
  #dropUpstream(): void {
    this.#dialling?.abandon()
    this.#dialling = null
    if (!this.#upstream) return
    this.#upstream.listener = SILENT
    this.#upstream.reset()
    this.#upstream = null
  }

  /** One write per side for everything queued. */
  #flush(): void {
    this.#flushTo(this.#client, 'client', this.#down)
    if (this.#upstream) this.#flushTo(this.#upstream, 'upstream', this.#up)
  }

  #flushTo(endpoint: Endpoint, side: Side, buffers: Buffers): void {
    const [first, ...more] = buffers.outgoing
    if (!first) return
    buffers.outgoing.length = 0
    if (endpoint.queuedBytes > MAX_QUEUED_BYTES) this.#broke(side, 'error')
    else endpoint.write(more.length === 0 ? first : Buffer.concat([first, ...more]))
  }

  #carry(names: readonly string[]): void {
    const upstream = this.#upstream
    if (!upstream) return
    const { rates } = this.#host
    const gates = { up: rates.gate(names, 'up'), down: rates.gate(names, 'down') }
    const carriage = new Carriage(this.#client, upstream, gates, (end) => this.#finish(end))
    carriage.bytesUp = this.#down.held.length
    carriage.bytesDown = this.#up.held.length
    if (this.#down.held.length > 0) this.#up.outgoing.push(this.#down.held)
    if (this.#up.held.length > 0) this.#down.outgoing.push(this.#up.held)
    this.#down.held = this.#up.held = new Uint8Array()
    this.#flush()
    this.#carriage = carriage
    carriage.start()
  }

  #setTimer(name: string, afterMs: number): void {
    clearTimeout(this.#timers.get(name))
    const timer = setTimeout(() => {
      this.#timers.delete(name)
      this.#dispatch({ type: 'timer', name })
    }, afterMs)
    this.#timers.set(name, timer)
  }

  #ask(question: unknown): void {
    const answered = (answer: unknown): void => {
      if (!this.#ending) this.#dispatch({ type: 'answered', question, answer })
    }
    const { answer } = this.#host
    const asked = new Promise((resolve) => resolve(answer?.(question)))
    asked.then(answered, () => answered(undefined))
  }

  /** Fixes the result; the first one stays. */
  #finish(ending: Ending): void {
    this.#ending ??= ending
    this.#handshake?.abandon()
    this.#carriage?.close()
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
  }

  #closeIfGone(): void {
    if (!this.#ending || this.#open.size > 0) return
    const { bytesUp = 0, bytesDown = 0 } = this.#carriage ?? {}
    this.#dispatch({ type: 'closed', result: { bytesUp, bytesDown, durationMs: performance.now() - this.#acceptedAtMs, ...this.#ending } })
  }
}
