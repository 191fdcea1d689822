/** One connection to a receiver: sends the parts, looks at what comes back, and always ends within its time. */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { Part } from './case.ts'
import type { Receiver } from './receiver.ts'

export interface Seen {
  /**
   * answered      as the conversation expects
   * other         something else
   * closed        the end, without a byte
   * reset         the same, abruptly
   * silent        nothing within the time
   * unreachable   no connection
   */
  readonly what: 'answered' | 'other' | 'closed' | 'reset' | 'silent' | 'unreachable'
  /** What came, one character a byte, at most MAX_TEXT_BYTES; or why there was no connection. */
  readonly text: string
  /** The receiver ended the connection. */
  readonly ended: boolean
  readonly ms: number
}

export interface ExchangeOptions {
  readonly receiver: Receiver
  readonly parts: readonly Part[]
  readonly isAnswer: (text: string) => boolean
  /** To answer, once everything is sent. */
  readonly timeoutMs: number
  /** Default: the same. */
  readonly connectTimeoutMs?: number
}

const MAX_TEXT_BYTES = 4096
/** Something came that isn't the answer: how long to wait for the rest of it, or for the end. */
const REST_MS = 300

export async function exchange({ receiver, parts, isAnswer, timeoutMs, connectTimeoutMs = timeoutMs }: ExchangeOptions): Promise<Seen> {
  const startedMs = performance.now()
  const seen = (what: Seen['what'], text: string, ended: boolean): Seen => ({ what, text, ended, ms: Math.round(performance.now() - startedMs) })
  const socket = connect({ ...receiver, noDelay: true })
  const peer = new Peer(socket, isAnswer)
  try {
    const failure = await peer.connected(connectTimeoutMs)
    if (failure !== null) return seen('unreachable', failure, true)
    for (const part of parts) {
      if (peer.settled) break
      if (part === 'end') socket.end()
      else if (typeof part === 'number') await peer.wait(part)
      else socket.write(part)
    }
    await peer.heard(timeoutMs)
    // Something came: the rest of it follows soon, or it is something else.
    if (peer.text !== '') await peer.wait(REST_MS)
    if (peer.answered) return seen('answered', peer.text, peer.ended)
    if (peer.text !== '') return seen('other', peer.text, peer.ended)
    return seen(peer.ended ? (peer.wasReset ? 'reset' : 'closed') : 'silent', '', peer.ended)
  } finally {
    socket.destroy()
  }
}

class Peer {
  text = ''
  ended = false
  wasReset = false
  answered = false
  readonly #settled = new AbortController()
  readonly #heard = new AbortController()
  readonly #connected: Promise<string | null>

  constructor(socket: Socket, isAnswer: (text: string) => boolean) {
    this.#connected = new Promise((resolve) => {
      socket.once('connect', () => resolve(null))
      socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    })
    socket.on('data', (chunk: Buffer) => {
      if (this.text.length >= MAX_TEXT_BYTES) return
      this.#heard.abort()
      this.text = (this.text + chunk.toString('latin1')).slice(0, MAX_TEXT_BYTES)
      this.answered ||= isAnswer(this.text)
      if (this.answered) this.#settled.abort()
    })
    socket.on('error', (error: NodeJS.ErrnoException) => (this.wasReset ||= error.code === 'ECONNRESET' || error.code === 'EPIPE'))
    const end = (): void => {
      this.ended = true
      this.#settled.abort()
      this.#heard.abort()
    }
    socket.on('end', end)
    socket.on('close', end)
  }

  /** It has answered as expected, or ended the connection. */
  get settled(): boolean {
    return this.#settled.signal.aborted
  }

  /** @returns why not, or null. */
  connected(timeoutMs: number): Promise<string | null> {
    return Promise.race([this.#connected, delay(timeoutMs, `nothing within ${timeoutMs} ms`, { ref: false })])
  }

  /** Until it settles, at most so long. */
  wait(ms: number): Promise<void> {
    return pause(ms, this.#settled.signal)
  }

  /** Until anything comes, or the end. */
  heard(ms: number): Promise<void> {
    return pause(ms, this.#heard.signal)
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined)
}
