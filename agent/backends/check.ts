/**
 * One look at a backend: does it take a connection, and, of kind postgres, does it answer as PostgreSQL does?
 *
 * PostgreSQL is asked with a GSSENCRequest rather than an SSLRequest: both are answered by one byte (`G` or `N`; `S` or
 * `N`), but a server with TLS writes a line into its log for each SSLRequest that no handshake follows. One that is too
 * old to know the question answers `E`rror: that proves as much.
 *
 * A backend that reads PROXY headers gets the one that says "not on behalf of anybody": LOCAL, or UNKNOWN.
 */
import type { Socket } from 'node:net'
import { asNearcastError } from '../../lib/errors.ts'
import type { ProxyHeaderVersion } from '../../lib/backend.ts'
import { dial } from '../../lib/hop/dial.ts'
import type { DialTarget } from '../../lib/plane/plane.ts'
import { encodeV1, encodeV2 } from '../../lib/proxy-protocol/encode.ts'

export interface CheckedBackend {
  readonly kind: 'tcp' | 'postgres'
  readonly target: DialTarget
  readonly proxyHeader: ProxyHeaderVersion
}

/** Length 8, code 1234 << 16 | 5680. */
const GSSENC_REQUEST = Uint8Array.of(0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30)
const ANSWERS: ReadonlySet<string> = new Set(['G', 'N', 'S', 'E'])
const NOBODY = { family: 'unspecified' } as const

/** @returns null when it is well, else how it failed, in words for the log. Never rejects. */
export async function checkBackend({ kind, target, proxyHeader }: CheckedBackend, timeoutMs: number, signal: AbortSignal): Promise<string | null> {
  const startMs = performance.now()
  let socket: Socket
  try {
    socket = await dial(target, timeoutMs, signal)
  } catch (error) {
    return asNearcastError(error).message
  }
  // What breaks it ends it; without a listener it would end the process.
  socket.on('error', () => {})
  try {
    const header = checkHeader(kind, proxyHeader)
    const question = kind === 'postgres' ? [GSSENC_REQUEST] : []
    const words = Buffer.concat([header, ...question])
    if (words.length > 0) socket.write(words)
    return kind === 'postgres' ? await postgresAnswer(socket, timeoutMs - (performance.now() - startMs), signal) : null
  } finally {
    if (kind === 'postgres') socket.destroy()
    else socket.destroySoon()
  }
}

/** Of kind tcp a v1 reader gets nothing: there is no line that means "only looking", and no question follows. */
function checkHeader(kind: CheckedBackend['kind'], version: ProxyHeaderVersion): Uint8Array {
  if (version === 'v2') return encodeV2({ command: 'local', addresses: NOBODY })
  return version === 'v1' && kind === 'postgres' ? encodeV1(NOBODY) : new Uint8Array()
}

function postgresAnswer(socket: Socket, timeoutMs: number, signal: AbortSignal): Promise<string | null> {
  return new Promise((resolve) => {
    const done = (failure: string | null): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
      resolve(failure)
    }
    const onAbort = (): void => done('It was given up.')
    const timer = setTimeout(() => done('It took the connection and did not answer in time.'), Math.max(1, timeoutMs))
    signal.addEventListener('abort', onAbort)
    socket.once('data', (bytes: Buffer) => done(ANSWERS.has(bytes.toString('latin1', 0, 1)) ? null : 'It does not answer as PostgreSQL does.'))
    socket.once('close', () => done('It closed the connection without an answer.'))
  })
}
