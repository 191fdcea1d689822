/**
 * The dialer's side of a session with one agent: keeps it open, answers what the agent last said.
 *
 * While the connection is broken the last session, availability and load stand (fail static): the agent keeps a closed
 * session for a minute, and answers `unknownSession` if it restarted, whereupon the caller reopens.
 * One connection per (dialer process, agent); it carries no client byte.
 */
import type { Socket } from 'node:net'
import { asNearcastError } from '../errors.ts'
import type { NodeRow } from '../feed/messages.ts'
import type { Logger } from '../log.ts'
import type { HopTls } from '../plane/plane.ts'
import { dial } from './dial.ts'
import { agentFrames, encodeFrame } from './frames.ts'
import { encodeSession } from './header.ts'
import type { FromAgent } from './protocol.ts'
import { MAX_UNAVAILABLE } from './protocol.ts'
import { dialTarget } from './target.ts'

/** `connecting`: dialling, waiting for the challenge, or waiting to try again. */
export type SessionState = 'connecting' | 'open' | 'closed'

export interface SessionClientOptions {
  /** Identity, `proxy/<id>` or `agent/<id>`. */
  readonly self: string
  readonly node: NodeRow
  /** The dialer's own host. */
  readonly host: string
  readonly tls: HopTls
  readonly log: Logger
  readonly onAvailability?: (unavailable: ReadonlyMap<string, string>) => void
  readonly onState?: (state: SessionState) => void
  /** Default 2000: a ping each, and a peer that leaves two unanswered is dead. */
  readonly pingIntervalMs?: number
  /** Dial, handshake and challenge. Default 3000. */
  readonly openTimeoutMs?: number
  /** First and longest wait before a new attempt, jittered. Default 100 and 5000. */
  readonly backoffMs?: readonly [number, number]
}

export class SessionClient {
  readonly #options: Required<SessionClientOptions>
  readonly #closing = new AbortController()
  #state: SessionState = 'connecting'
  #session: Uint8Array | null = null
  #unavailable: ReadonlyMap<string, string> = new Map()
  #partial = new Map<string, string>()
  #load = 0
  #counter = 0n
  #socket: Socket | null = null
  #failures = 0
  /** Set by `reopen`: the next attempt doesn't wait. */
  #hurried = false
  #wake: (() => void) | null = null
  readonly #waiting = new Set<() => void>()

  constructor(options: SessionClientOptions) {
    this.#options = {
      onAvailability: () => {},
      onState: () => {},
      pingIntervalMs: 2000,
      openTimeoutMs: 3000,
      backoffMs: [100, 5000],
      ...options,
    }
    void this.#run()
  }

  get state(): SessionState {
    return this.#state
  }

  /** null before the first challenge and after `reopen`. */
  get session(): Uint8Array | null {
    return this.#session
  }

  /** serviceId -> reason, as the agent last said. */
  get unavailable(): ReadonlyMap<string, string> {
    return this.#unavailable
  }

  /** Connections that the agent carries, for all dialers. */
  get load(): number {
    return this.#load
  }

  /** Which of the dialer's threads numbers its headers by this client. */
  readonly worker: number = 0

  /** Never repeats in the life of this client, so never within a session. */
  nextCounter(): bigint {
    return this.#counter++
  }

  /** Waits for a session. @returns null when there is none after `timeoutMs`, or when closed. */
  async opened(timeoutMs: number): Promise<Uint8Array | null> {
    if (this.#session !== null || this.#state === 'closed') return this.#session
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, timeoutMs)
    this.#waiting.add(resolve)
    await promise
    clearTimeout(timer)
    this.#waiting.delete(resolve)
    return this.#session
  }

  /**
   * The agent answered `unknownSession`: drops the session and opens another at once.
   * `refused`, the session that was refused, makes it safe to call once per refused connection: a newer one stays.
   */
  reopen(refused?: Uint8Array): void {
    if (this.#state === 'closed') return
    if (refused !== undefined && (this.#session === null || !Buffer.from(refused).equals(this.#session))) return
    this.#session = null
    this.#hurried = true
    this.#socket?.destroy()
    this.#wake?.()
  }

  /** Ends the session for good. Idempotent. */
  close(): void {
    if (this.#state === 'closed') return
    this.#closing.abort()
    this.#socket?.destroy()
    this.#wake?.()
    this.#setState('closed')
    this.#session = null
    for (const resolve of this.#waiting) resolve()
  }

  async #run(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      try {
        await this.#connection()
      } catch (error) {
        const { code, message } = asNearcastError(error)
        if (this.#failures === 0) this.#options.log.warn({ node: this.#options.node.id, code }, message)
      }
      if (this.#closing.signal.aborted) return
      this.#setState('connecting')
      this.#failures++
      await this.#pause()
    }
  }

  /** Doubles up to the longest, then a random part of it, so that dialers don't return in step. */
  async #pause(): Promise<void> {
    if (this.#hurried) {
      this.#hurried = false
      return
    }
    const [firstMs, longestMs] = this.#options.backoffMs
    const fullMs = Math.min(longestMs, firstMs * 2 ** Math.min(this.#failures - 1, 20))
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, fullMs * (0.5 + Math.random() / 2))
    this.#wake = resolve
    await promise
    this.#wake = null
    this.#hurried = false
    clearTimeout(timer)
  }

  /** Lives as long as one connection does. */
  async #connection(): Promise<void> {
    const { self, node, host, tls, openTimeoutMs, pingIntervalMs } = this.#options
    const startMs = performance.now()
    const socket = await dial(dialTarget(node, host, tls), openTimeoutMs, this.#closing.signal)
    if (this.#closing.signal.aborted) {
      socket.destroy()
      return
    }
    this.#socket = socket
    this.#partial = new Map()
    const reader = agentFrames()
    let challenged = false
    let sent = 0
    let answered = 0
    const { promise: closed, resolve } = Promise.withResolvers<void>()
    socket.on('error', () => {})
    socket.on('close', () => resolve())
    socket.on('end', () => socket.destroy())
    socket.on('data', (chunk: Buffer) => {
      const { frames, invalid } = reader.push(chunk)
      for (const frame of frames) {
        if (frame.type === 'pong') answered = Math.max(answered, Math.min(frame.n, sent))
        if (frame.type === 'challenge') challenged = true
        this.#onFrame(frame)
      }
      if (invalid !== null) this.#cut(socket, invalid)
    })
    socket.write(encodeSession(self, node.id))
    const deadline = setTimeout(
      () => {
        if (!challenged) this.#cut(socket, 'no challenge in time')
      },
      Math.max(1, openTimeoutMs - (performance.now() - startMs)),
    )
    const pings = setInterval(() => {
      if (sent - answered >= 2) this.#cut(socket, 'two pings without an answer')
      else socket.write(encodeFrame({ type: 'ping', n: ++sent }))
    }, pingIntervalMs)
    await closed
    clearTimeout(deadline)
    clearInterval(pings)
    this.#socket = null
  }

  #cut(socket: Socket, reason: string): void {
    if (this.#failures === 0) this.#options.log.warn({ node: this.#options.node.id, reason }, 'the session with the agent broke')
    socket.destroy()
  }

  #onFrame(frame: FromAgent): void {
    switch (frame.type) {
      case 'challenge':
        this.#session = Uint8Array.from(Buffer.from(frame.session, 'hex'))
        this.#hurried = false
        this.#setState('open')
        for (const resolve of this.#waiting) resolve()
        return
      case 'availability':
        for (const [service, reason] of Object.entries(frame.unavailable)) {
          if (this.#partial.size < MAX_UNAVAILABLE) this.#partial.set(service, reason)
        }
        if (frame.more === true) return
        this.#unavailable = this.#partial
        this.#partial = new Map()
        this.#options.onAvailability(this.#unavailable)
        return
      case 'load':
        this.#load = frame.connections
        return
      case 'pong':
        // Only a session that lives for a while ends the backing off: an agent that challenges and closes is not well.
        this.#failures = 0
        return
    }
  }

  #setState(state: SessionState): void {
    if (this.#state === state) return
    this.#state = state
    this.#options.onState(state)
  }
}
