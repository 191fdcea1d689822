/**
 * What a connection does about TLS before anybody is dialled, by its address's policy. A pure part of the state machine in
 * proxy/connection.ts: it answers each event with actions and, at the end, with what became of it.
 *
 *   auto         first ─ 0x16 ─> hello ─> securing ─> terminated
 *                  └── another byte, the client's end, or silence ─> plain
 *   terminate                    hello ─> securing ─> terminated
 *   passthrough                  hello ─> passed on
 *
 * `auto` is for protocols in which the client speaks first; a silent client is taken for a plain one after `firstByteMs`.
 * From the first byte of TLS on a client counts as a half handshake: bounded in number before its hello is held, and in
 * time altogether. A name that no certificate is for is refused by an alert before a TLS library hears of the client.
 */
import type { AddressTls } from '../../lib/feed/messages.ts'
import type { NetworkId } from '../../lib/address.ts'
import type { PlaneAction, TlsFailure, TlsServer, TlsSession } from '../../lib/plane/plane.ts'
import { MAX_HELLO_WIRE_BYTES, TLS_FIRST_BYTE, parseClientHello } from './client-hello.ts'

/** What the policy needs from the proxy. */
export interface TlsEdge {
  readonly handshakes: { begin(network: NetworkId): boolean; end(network: NetworkId): void }
  /** A name's server. A client that names none gets that of the service's own name. `unknown-name`: there is no certificate for it. */
  readonly server: (tls: AddressTls, serverName: string | null, service: string | null) => TlsServer | 'unknown-name' | 'no-certificate'
  readonly handshakeTimeoutMs: number
  readonly firstByteMs: number
  /** Milliseconds, monotonic. */
  readonly now: () => number
}

export type ClientTlsFailure = TlsFailure | 'too-many-handshakes' | 'not-tls' | 'malformed-hello' | 'unknown-name' | 'no-certificate'

/** What became of it; in the connection's record. */
export type ClientTlsRecord =
  | { readonly mode: 'plain' }
  | { readonly mode: 'passthrough'; readonly serverName: string | null }
  | { readonly mode: 'terminated'; readonly session: TlsSession }
  | { readonly mode: 'failed'; readonly reason: ClientTlsFailure; readonly serverName: string | null }

export interface ClientTlsStep {
  readonly actions: readonly PlaneAction[]
  /** Present in the last step. */
  readonly record?: ClientTlsRecord
}

type State = 'first' | 'hello' | 'securing' | 'over'

/** RFC 8446 section 6: fatal alerts in a record of TLS 1.2, which every client reads. */
const ALERT = { decodeError: 50, handshakeFailure: 40, unrecognizedName: 112 } as const
const TIMER = 'tls'
const NOTHING: ClientTlsStep = { actions: [] }
const READ_HELLO: PlaneAction = { type: 'read', side: 'client', limitBytes: MAX_HELLO_WIRE_BYTES }
const STOP_READING: PlaneAction = { type: 'read', side: 'client', limitBytes: 0 }
const CANCEL: PlaneAction = { type: 'cancel-timer', name: TIMER }
const RESET: PlaneAction = { type: 'reset' }

export class ClientTls {
  readonly #tls: AddressTls
  readonly #network: NetworkId
  readonly #service: string | null
  readonly #edge: TlsEdge
  #state: State = 'first'
  #counted = false
  #deadlineMs = 0
  #serverName: string | null = null

  /** `name`: the service's. */
  constructor({ tls, network, name = null }: { readonly tls: AddressTls; readonly network: NetworkId; readonly name?: string | null }, edge: TlsEdge) {
    this.#tls = tls
    this.#network = network
    this.#service = name
    this.#edge = edge
  }

  start(): ClientTlsStep {
    if (this.#tls.policy !== 'auto') return this.#begin([READ_HELLO])
    return { actions: [READ_HELLO, { type: 'timer', name: TIMER, afterMs: this.#edge.firstByteMs }] }
  }

  received(bytes: Uint8Array): ClientTlsStep {
    if (this.#state === 'first') {
      if (bytes[0] !== TLS_FIRST_BYTE) return this.#finish({ mode: 'plain' }, [CANCEL, STOP_READING])
      const begun = this.#begin([])
      if (begun.record) return begun
      const { actions, record } = this.#hello(bytes)
      return { actions: [...begun.actions, ...actions], ...(record && { record }) }
    }
    return this.#state === 'hello' ? this.#hello(bytes) : NOTHING
  }

  /** The client's FIN. */
  ended(): ClientTlsStep {
    if (this.#state === 'first') return this.#finish({ mode: 'plain' }, [CANCEL])
    return this.#state === 'hello' ? this.#fail('closed', [RESET]) : NOTHING
  }

  timer(name: string): ClientTlsStep {
    if (name !== TIMER) return NOTHING
    if (this.#state === 'first') return this.#finish({ mode: 'plain' }, [STOP_READING])
    return this.#state === 'hello' ? this.#fail('timeout', [RESET]) : NOTHING
  }

  secured(session: TlsSession): ClientTlsStep {
    return this.#state === 'securing' ? this.#finish({ mode: 'terminated', session }, []) : NOTHING
  }

  /** The plane ends the connection by itself. */
  secureFailed(reason: TlsFailure): ClientTlsStep {
    return this.#state === 'securing' ? this.#fail(reason, []) : NOTHING
  }

  /** However the connection ended. Idempotent. */
  closed(): void {
    this.#uncount()
    this.#state = 'over'
  }

  #begin(actions: readonly PlaneAction[]): ClientTlsStep {
    this.#state = 'hello'
    this.#counted = this.#edge.handshakes.begin(this.#network)
    if (!this.#counted) return this.#fail('too-many-handshakes', [RESET])
    const { handshakeTimeoutMs, now } = this.#edge
    this.#deadlineMs = now() + handshakeTimeoutMs
    return { actions: [...actions, { type: 'timer', name: TIMER, afterMs: handshakeTimeoutMs }] }
  }

  #hello(bytes: Uint8Array): ClientTlsStep {
    const parsed = parseClientHello(bytes)
    if (parsed.state === 'incomplete') return NOTHING
    if (parsed.state === 'invalid') {
      return bytes[0] === TLS_FIRST_BYTE ? this.#refuse('malformed-hello', ALERT.decodeError) : this.#fail('not-tls', [RESET])
    }
    const { serverName } = parsed.hello
    this.#serverName = serverName
    if (this.#tls.policy === 'passthrough') return this.#finish({ mode: 'passthrough', serverName }, [CANCEL, STOP_READING])
    const server = this.#edge.server(this.#tls, serverName, this.#service)
    if (server === 'unknown-name') return this.#refuse(server, ALERT.unrecognizedName)
    if (server === 'no-certificate') return this.#refuse(server, ALERT.handshakeFailure)
    this.#state = 'securing'
    const timeoutMs = Math.max(1, this.#deadlineMs - this.#edge.now())
    return { actions: [CANCEL, { type: 'secure', side: 'client', server, timeoutMs }] }
  }

  #refuse(reason: ClientTlsFailure, alert: number): ClientTlsStep {
    return this.#fail(reason, [{ type: 'write', side: 'client', bytes: Uint8Array.of(0x15, 3, 3, 0, 2, 2, alert) }, { type: 'close' }])
  }

  #fail(reason: ClientTlsFailure, actions: readonly PlaneAction[]): ClientTlsStep {
    return this.#finish({ mode: 'failed', reason, serverName: this.#serverName }, actions)
  }

  #finish(record: ClientTlsRecord, actions: readonly PlaneAction[]): ClientTlsStep {
    this.#state = 'over'
    this.#uncount()
    return { actions, record }
  }

  #uncount(): void {
    if (this.#counted) this.#edge.handshakes.end(this.#network)
    this.#counted = false
  }
}
