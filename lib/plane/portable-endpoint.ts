/**
 * One side of a connection on a Node socket (TCP, Unix or TLS over TCP): reading on demand, ordered writes, FIN, RST.
 *
 * It hides what differs: a TLS socket can't be reset, its TCP socket can; a Unix socket has no RST; Node refuses to reset
 * while a shutdown is queued, so FIN is sent only behind an empty queue; and Node destroys a socket whose write failed,
 * with what the peer had said before unread in the kernel, so write errors are kept from it here. It decides nothing.
 */
import type { Socket } from 'node:net'
import { SILENT } from './endpoint.ts'
import type { EndpointListener, SecurableEndpoint } from './endpoint.ts'

const EMPTY = Buffer.alloc(0)
const RESET = Object.assign(new Error('The peer reset the connection.'), { code: 'ECONNRESET' })
/** How long a flushed peer may take to end too. */
const LINGER_MS = 5000
/** A closing peer that takes nothing of what is queued is reset after this many times LINGER_MS. */
const STALLS = 6

export class PortableEndpoint implements SecurableEndpoint {
  listener: EndpointListener
  #socket: Socket
  readonly #tcp: Socket
  readonly unix: boolean
  #lingering: NodeJS.Timeout | undefined
  #reading = false
  #deaf: 'ended' | 'reset' | null = null
  #gone = false
  onGone: () => void = () => undefined
  ended = false
  failed = false

  /** `socket` carries the payload; `tcp` is the socket below it when that is TLS, else the same. Both belong to the endpoint now. */
  constructor(socket: Socket, tcp: Socket, unix: boolean, listener: EndpointListener) {
    this.listener = listener
    this.#socket = socket
    this.#tcp = tcp
    this.unix = unix
    this.#carries(socket)
    tcp.on('error', (error) => this.#fail(error))
    catchWriteErrors(tcp, (error) => this.#onWriteError(error))
    if (tcp !== socket) this.#covers(socket)
    tcp.on('close', () => {
      if (this.#socket !== tcp) this.#socket.destroy()
      // Closed without end, error or our doing: a peer that broke in a way that Node reports only like this.
      if (!this.ended) this.#fail(null)
      this.#gone = true
      clearInterval(this.#lingering)
      this.onGone()
    })
  }

  readonly #onData = (chunk: Buffer): void => this.listener.data(chunk)
  readonly #onDrain = (): void => this.listener.drain()

  #carries(socket: Socket): void {
    socket.pause()
    socket.on('data', this.#onData)
    socket.on('drain', this.#onDrain)
    socket.on('end', this.#onEnd)
  }

  /** A TLS socket above the TCP one. */
  #covers(socket: Socket): void {
    socket.on('error', (error) => this.#fail(error))
    catchWriteErrors(socket, (error) => this.#onWriteError(error))
    socket.on('close', () => this.#tcp.destroy())
  }

  release(unread: Uint8Array, done: (tcp: Socket, successor: SecurableEndpoint) => void): void {
    const tcp = this.#tcp
    this.pause()
    tcp.off('data', this.#onData).off('drain', this.#onDrain).off('end', this.#onEnd)
    if (unread.length > 0) tcp.unshift(unread)
    done(tcp, this)
  }

  secured(socket: Socket): void {
    this.#socket = socket
    this.#carries(socket)
    this.#covers(socket)
  }

  /** Behind a failed write the kernel's end of file alone doesn't say how the peer went; the error does. */
  readonly #onEnd = (): void => {
    if (this.#deaf === 'reset') return this.#fail(RESET)
    this.ended = true
    this.listener.end()
    if (this.#deaf === 'ended') this.#fail(RESET)
  }

  /**
   * The peer takes nothing any more. What it said before is still read: up to its FIN when it had sent one (the kernel
   * then answers EPIPE), else up to the reset. Unread sides that were reset are over.
   */
  #onWriteError(error: NodeJS.ErrnoException): void {
    if (this.failed || this.#deaf) return
    this.#deaf = error.code === 'EPIPE' ? 'ended' : 'reset'
    if (this.ended || (this.#deaf === 'reset' && !this.#reading)) this.#fail(error)
  }

  #fail(error: NodeJS.ErrnoException | null): void {
    if (this.failed) return
    this.#deliverRest()
    this.failed = true
    const how = error?.code === 'ECONNRESET' || error?.code === 'EPIPE' ? 'reset' : 'error'
    this.listener.failed(how)
  }

  /** What was read from the kernel before it broke, and held back from a slow other side. */
  #deliverRest(): void {
    // `read` emits `data` too, in some states of a broken stream.
    this.#socket.off('data', this.#onData)
    for (let rest: Buffer | null = this.#socket.read(); rest !== null; rest = this.#socket.read()) this.listener.data(rest)
  }

  get gone(): boolean {
    return this.#gone
  }

  get full(): boolean {
    return this.#socket.writableLength >= this.#socket.writableHighWaterMark
  }

  get queuedBytes(): number {
    return this.#socket.writableLength
  }

  resume(): void {
    this.#reading = true
    this.#socket.resume()
  }

  pause(): void {
    this.#reading = false
    this.#socket.pause()
  }

  /**
   * Asks the kernel whether a peer that isn't read (and so isn't watched by the loop) has reset: an empty write sends
   * nothing and reports it. Unix sockets don't answer, and a side that we ended can't be asked.
   */
  probe(): void {
    if ((this.#reading && !this.ended) || this.#deaf || this.#socket.writableLength > 0 || this.#socket.writableEnded || this.#tcp.destroyed) return
    this.#tcp.write(EMPTY)
  }

  /** Nothing is shorter than a write. */
  carryTo(): void {
    // Chunks go by the listener.
  }

  write(bytes: Uint8Array): void {
    if (!this.#deaf && !this.#socket.writableEnded && !this.#socket.destroyed) this.#socket.write(bytes)
  }

  finish(): void {
    if (this.#socket.writableEnded) return
    if (this.#socket.writableLength === 0) this.#socket.end()
    else this.#socket.write(EMPTY, () => this.#socket.end())
  }

  reset(): void {
    this.failed = true
    clearInterval(this.#lingering)
    if (this.#tcp.destroyed) return
    if (this.unix || this.#tcp.connecting) this.#tcp.destroy()
    else if (this.#socket.writableEnded && !this.#socket.writableFinished) this.#resetBehindShutdown()
    else this.#tcp.resetAndDestroy()
  }

  /** libuv refuses to reset while a shutdown is on its way; the queue is empty, so it ends within one turn of the loop. */
  #resetBehindShutdown(): void {
    this.#socket.once('finish', () => {
      if (!this.#tcp.destroyed) this.#tcp.resetAndDestroy()
    })
  }

  /**
   * Closes without losing what was written: flush, FIN, then drop what still arrives until the peer has ended too.
   * Closing at once would answer its next byte with an RST, which takes what it hasn't read yet.
   */
  linger(): void {
    this.failed = true
    if (this.#gone) return
    let sent = 0
    let stalls = 0
    let flushed = false
    this.#lingering ??= setInterval(() => {
      const sentNow = this.#socket.bytesWritten - this.#socket.writableLength
      stalls = sentNow === sent ? stalls + 1 : 0
      sent = sentNow
      if (flushed) this.#tcp.destroy()
      else if (stalls >= STALLS) this.reset()
      flushed = this.#socket.writableLength === 0
    }, LINGER_MS)
    this.listener = SILENT
    this.finish()
    this.resume()
  }
}

/** Reports write errors and lets the stream believe that all is well; who owns the socket decides. */
function catchWriteErrors(socket: Socket, onError: (error: Error) => void): void {
  const write = socket._write.bind(socket)
  const writev = socket._writev?.bind(socket)
  const caught = (done: () => void) => (error?: Error | null) => {
    if (error) onError(error)
    done()
  }
  socket._write = (chunk, encoding, done) => write(chunk, encoding, caught(done))
  if (writev) socket._writev = (chunks, done) => writev(chunks, caught(done))
}
