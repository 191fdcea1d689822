/**
 * A client on an app host, driven over IPC: started once per namespace, it makes connections when told to.
 * Run as a program: `ip netns exec <host> node test/support/dialer.ts`.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { createServer, connect } from 'node:net'

export interface DialRequest {
  readonly host: string
  readonly port: number
  readonly localAddress?: string
  /** Sent at once, then FIN, unless `hold`. */
  readonly send?: string
  /** Keeps the connection open after the first bytes. */
  readonly hold?: boolean
  readonly timeoutMs?: number
}

export interface DialResult {
  /** What came back. */
  readonly received: string
  /** ECONNRESET, ECONNREFUSED, TIMEOUT …; null when it ended well. */
  readonly error: string | null
  readonly connected: boolean
  readonly ms: number
}

type Command =
  | ({ readonly what: 'dial'; readonly n: number } & DialRequest)
  | { readonly what: 'listen'; readonly n: number; readonly port: number }
  | { readonly what: 'datagram'; readonly n: number; readonly host: string; readonly port: number }

type WithoutNumber<C> = C extends Command ? Omit<C, 'n'> : never

export class Dialer {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, (result: DialResult) => void>()
  #last = 0

  /** `namespace` null: where we are. */
  constructor(namespace: string | null) {
    const file = new URL(import.meta.url).pathname
    const words = namespace === null ? [process.execPath, file] : ['ip', 'netns', 'exec', namespace, process.execPath, file]
    this.#child = spawn(words[0] ?? '', words.slice(1), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.#child.on('message', (message: { n: number; result: DialResult }) => {
      this.#waiting.get(message.n)?.(message.result)
      this.#waiting.delete(message.n)
    })
  }

  dial(request: DialRequest): Promise<DialResult> {
    return this.#ask({ what: 'dial', ...request })
  }

  /** A server in this namespace that says `customer`. */
  listen(port: number): Promise<DialResult> {
    return this.#ask({ what: 'listen', port })
  }

  /** Resolves with the answer or error of one datagram, or TIMEOUT. */
  datagram(host: string, port: number): Promise<DialResult> {
    return this.#ask({ what: 'datagram', host, port })
  }

  close(): void {
    this.#child.kill('SIGKILL')
  }

  #ask(command: WithoutNumber<Command>): Promise<DialResult> {
    const n = ++this.#last
    return new Promise((resolve) => {
      this.#waiting.set(n, resolve)
      this.#child.send({ ...command, n })
    })
  }
}

function dial(request: DialRequest, done: (result: DialResult) => void): void {
  const startMs = performance.now()
  const { host, port, localAddress, send, hold = false, timeoutMs = 5000 } = request
  let received = ''
  let connected = false
  let finished = false
  const finish = (error: string | null): void => {
    if (finished) return
    finished = true
    clearTimeout(timer)
    if (error !== null || !hold) socket.destroy()
    done({ received, error, connected, ms: performance.now() - startMs })
  }
  const socket = connect({ host, port, ...(localAddress !== undefined && { localAddress }) })
  const timer = setTimeout(() => finish('TIMEOUT'), timeoutMs)
  socket.on('connect', () => {
    connected = true
    if (send === undefined) return
    if (hold) socket.write(send)
    else socket.end(send)
  })
  socket.on('data', (chunk) => {
    received += chunk.toString('latin1')
    if (hold) finish(null)
  })
  socket.on('error', (error: NodeJS.ErrnoException) => finish(error.code ?? error.message))
  socket.on('end', () => finish(null))
}

function datagram(host: string, port: number, done: (result: DialResult) => void): void {
  const startMs = performance.now()
  const socket = createSocket('udp6')
  const finish = (received: string, error: string | null): void => {
    clearTimeout(timer)
    socket.close()
    done({ received, error, connected: false, ms: performance.now() - startMs })
  }
  const timer = setTimeout(() => finish('', 'TIMEOUT'), 500)
  socket.once('message', (message) => finish(message.toString('latin1'), null))
  socket.once('error', (error: NodeJS.ErrnoException) => finish('', error.code ?? error.message))
  socket.connect(port, host, () => socket.send('?'))
}

if (import.meta.main) {
  process.on('message', (command: Command) => {
    const answer = (result: DialResult): void => void process.send?.({ n: command.n, result })
    if (command.what === 'dial') dial(command, answer)
    else if (command.what === 'datagram') datagram(command.host, command.port, answer)
    else {
      createServer((socket) => {
        socket.on('error', () => {})
        socket.end('customer')
      }).listen(command.port, '::', () => answer({ received: '', error: null, connected: false, ms: 0 }))
    }
  })
  process.on('disconnect', () => process.exit())
}
