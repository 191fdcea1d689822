/**
 * Opens one connection to a dial target, for sessions and probes (client connections are dialled by a plane).
 *
 * The peer of a TLS target is its certificate's URI, checked against our own CA: names and addresses are not looked at,
 * because nodes move. A socket that fails in any way before it is ready rejects; afterwards it is the caller's to close.
 */
import { connect as connectTcp } from 'node:net'
import type { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { NearcastError } from '../errors.ts'
import { certificateIdentity } from '../plane/certificate-identity.ts'
import { hopContext } from '../plane/hop-context.ts'
import type { DialTarget } from '../plane/plane.ts'
import { HOP_ALPN } from './protocol.ts'

/** @throws NearcastError hop.dial-failed (refused, unreachable, TLS), hop.timeout. `signal` aborts it. */
export function dial(target: DialTarget, timeoutMs: number, signal?: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = open(target)
    const settle = (error: NearcastError | null): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      socket.removeListener('error', onError)
      if (error === null) {
        resolve(socket)
        return
      }
      // Destroyed sockets may still emit: an error without a listener would end the process.
      socket.on('error', () => {})
      socket.destroy()
      reject(error)
    }
    const onError = (error: Error): void => settle(failed(error.message, error))
    const onAbort = (): void => settle(failed('it was given up'))
    const timer = setTimeout(() => {
      settle(new NearcastError('hop.timeout', `The node did not answer within ${timeoutMs} ms.`, { side: 'upstream', retryable: true }))
    }, timeoutMs)
    signal?.addEventListener('abort', onAbort)
    socket.on('error', onError)
    socket.once(isTls(target) ? 'secureConnect' : 'connect', () => settle(null))
    if (signal?.aborted === true) onAbort()
  })
}

function failed(why: string, cause?: unknown): NearcastError {
  return new NearcastError('hop.dial-failed', `The node can't be reached: ${why}.`, { side: 'upstream', retryable: true, cause })
}

function isTls(target: DialTarget): boolean {
  return target.kind === 'tcp' && target.tls !== undefined
}

function open(target: DialTarget): Socket {
  if (target.kind === 'unix') return connectTcp({ path: target.path })
  const { host, port, tls } = target
  if (tls === undefined) return connectTcp({ host, port, noDelay: true })
  const socket = connectTls({
    host,
    port,
    secureContext: hopContext(tls),
    ALPNProtocols: [HOP_ALPN],
    checkServerIdentity: (_host, certificate) => {
      const met = certificateIdentity(certificate.subjectaltname)
      return met === tls.identity ? undefined : new Error(`its certificate is not that of ${tls.identity}`)
    },
  })
  socket.setNoDelay(true)
  return socket
}
