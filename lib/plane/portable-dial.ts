/**
 * Dialling on Node's sockets: TCP, Unix, or mutual TLS over TCP to one named identity.
 *
 * One time limit covers name, connect and handshake. What a dial gives is an endpoint, paused: nothing was read from it
 * (of TLS at most what came with the handshake's end, unseen). Socket errors become one of six words (DialFailure).
 */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import { HOP_ALPN } from '../hop/protocol.ts'
import { certificateIdentity } from './certificate-identity.ts'
import { hopContext } from './hop-context.ts'
import { dialFailure, KEEP_ALIVE_AFTER_MS } from './dialling.ts'
import type { Dialling } from './dialling.ts'
import { SILENT } from './endpoint.ts'
import type { Endpoint } from './endpoint.ts'
import type { DialFailure, DialTarget, HopTls } from './plane.ts'
import { PortableEndpoint } from './portable-endpoint.ts'

/** A `Dial`. */
export function dial(target: DialTarget, timeoutMs: number, done: (result: Endpoint | DialFailure) => void): Dialling {
  const tcp =
    target.kind === 'unix'
      ? connect({ path: target.path, allowHalfOpen: true })
      : connect({
          host: target.host,
          port: target.port,
          allowHalfOpen: true,
          noDelay: true,
          keepAlive: true,
          keepAliveInitialDelay: KEEP_ALIVE_AFTER_MS,
        })
  tcp.pause()
  const tls = target.kind === 'tcp' ? target.tls : undefined
  let secure: TLSSocket | null = null
  let settled = false

  const settle = (result: Endpoint | DialFailure): void => {
    if (settled) return
    settled = true
    clearTimeout(timer)
    if (typeof result === 'string') destroy()
    done(result)
  }
  const destroy = (): void => {
    secure?.destroy()
    tcp.destroy()
  }
  const onError = (error: NodeJS.ErrnoException): void => settle(failureOf(error, secure !== null))
  const onClose = (): void => settle('reset')
  const timer = setTimeout(() => settle('timeout'), timeoutMs)

  const succeed = (socket: Socket): void => {
    if (settled) return
    for (const each of new Set([socket, tcp])) each.off('error', onError).off('close', onClose)
    settle(new PortableEndpoint(socket, tcp, target.kind === 'unix', SILENT))
  }

  tcp.on('error', onError)
  tcp.on('close', onClose)
  tcp.once('connect', () => {
    if (settled) return
    if (!tls) return succeed(tcp)
    const opened = openTls(tcp, tls, () => {
      opened.pause()
      if (opened.alpnProtocol === HOP_ALPN) succeed(opened)
      else settle('tls')
    })
    opened.on('error', onError)
    opened.on('close', onClose)
    secure = opened
  })
  return {
    abandon() {
      if (settled) return
      settled = true
      clearTimeout(timer)
      destroy()
    },
  }
}

function openTls(tcp: Socket, tls: HopTls & { readonly identity: string }, onSecure: () => void): TLSSocket {
  return connectTls(
    {
      // Half-open like this one: TLS takes that from the socket below it.
      socket: tcp,
      secureContext: hopContext(tls),
      ALPNProtocols: [HOP_ALPN],
      checkServerIdentity: (_host, certificate) =>
        certificateIdentity(certificate.subjectaltname) === tls.identity ? undefined : new Error('The server is not who was dialled.'),
    },
    onSecure,
  )
}

function failureOf(error: NodeJS.ErrnoException, handshaking: boolean): DialFailure {
  return dialFailure(error.code ?? '') ?? (handshaking ? 'tls' : 'error')
}
