/** The supervisor's end of the control socket: a request, an answer, the end. Closed by its owner. */
import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { NearcastError, asNearcastError } from '../../lib/errors.ts'
import type { ControlAnswer, ControlRequest } from './control-protocol.ts'
import { MAX_LINE_BYTES, controlRequest, controlSocket, isSameUser } from './control-protocol.ts'

const IDLE_TIMEOUT_MS = 10_000
const MAX_CONNECTIONS = 64

export class ControlServer {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  private constructor(server: Server) {
    this.#server = server
  }

  /** @throws NearcastError dev.running when the name is taken */
  static open(cluster: string, obey: (request: ControlRequest) => Promise<unknown>): Promise<ControlServer> {
    const server = createServer({ allowHalfOpen: true })
    const control = new ControlServer(server)
    server.maxConnections = MAX_CONNECTIONS
    server.on('connection', (socket) => control.#serve(socket, obey))
    return new Promise((resolve, reject) => {
      server.once('error', (error: NodeJS.ErrnoException) => {
        const message =
          error.code === 'EADDRINUSE'
            ? `A cluster named "${cluster}" runs already; end it with "nearcast dev down", or start another with --cluster <name>.`
            : `The control socket can't be opened: ${error.message}.`
        reject(new NearcastError(error.code === 'EADDRINUSE' ? 'dev.running' : 'dev.failed', message))
      })
      server.listen(controlSocket(cluster), () => resolve(control))
    })
  }

  /** Answers that are under way are still sent. */
  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroySoon()
  }

  #serve(socket: Socket, obey: (request: ControlRequest) => Promise<unknown>): void {
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('error', () => {})
    if (!isSameUser(socket)) {
      socket.destroy()
      return
    }
    let text = ''
    socket.setTimeout(IDLE_TIMEOUT_MS, () => socket.destroy())
    socket.setEncoding('utf8')
    socket.on('data', (data: string) => {
      text += data
      if (text.length > MAX_LINE_BYTES) socket.destroy()
      const end = text.indexOf('\n')
      if (end < 0) return
      socket.pause()
      socket.setTimeout(0)
      void answer(text.slice(0, end), obey).then((reply) => socket.end(`${JSON.stringify(reply)}\n`))
    })
    socket.on('end', () => socket.end())
  }
}

async function answer(line: string, obey: (request: ControlRequest) => Promise<unknown>): Promise<ControlAnswer> {
  try {
    const request = controlRequest.safeParse(JSON.parse(line))
    if (!request.success) throw new NearcastError('cli.usage', `The cluster doesn't understand this command (${request.error.issues[0]?.message}); it runs another version.`)
    return { ok: true, result: (await obey(request.data)) ?? null }
  } catch (error) {
    const { code, message } = asNearcastError(error)
    return { ok: false, code, message }
  }
}
