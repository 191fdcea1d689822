/**
 * Where a server listens, as one text: `127.0.0.1:7200`, `[::1]:0`, `unix:/run/x.sock`, or `fd:3` for a socket that the
 * starter opened and left to us (a supervisor outside of a network namespace does that).
 */
import { lstatSync, unlinkSync } from 'node:fs'
import type { Server } from 'node:net'
import { BlockList, connect, isIP } from 'node:net'
import { NearcastError } from './errors.ts'

export type ListenTarget =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'fd'; readonly fd: number }

/** @throws NearcastError config.invalid */
export function parseListen(text: string): ListenTarget {
  const unix = /^unix:(\/.+)$/.exec(text)
  if (unix) return { kind: 'unix', path: unix[1] ?? '' }
  const fd = /^fd:(\d{1,4})$/.exec(text)
  if (fd) return { kind: 'fd', fd: Number(fd[1]) }
  const tcp = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text)
  const host = tcp?.[1] ?? tcp?.[2] ?? ''
  const port = Number(tcp?.[3] ?? -1)
  if (isIP(host) === 0 || port < 0 || port > 65535) {
    throw new NearcastError('config.invalid', `"${text.slice(0, 64)}" is no place to listen: write host:port with an IP address, unix:/path or fd:N.`)
  }
  return { kind: 'tcp', host, port }
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

export function isLoopback(host: string): boolean {
  const family = isIP(host)
  return family !== 0 && loopback.check(host, family === 6 ? 'ipv6' : 'ipv4')
}

/**
 * Starts `server` and returns its port (0 for a Unix socket). A Unix socket that nobody serves any more is replaced.
 * @throws NearcastError listen.in-use, listen.denied
 */
export async function listenOn(server: Server, target: ListenTarget): Promise<number> {
  if (target.kind === 'unix') await removeStaleSocket(target.path)
  await new Promise<void>((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void => reject(listenError(error, target))
    server.once('error', failed)
    server.listen(listenOptions(target), () => {
      server.off('error', failed)
      // An accept that fails (no descriptors left) is tried again; without a listener it would end the process.
      server.on('error', () => undefined)
      resolve()
    })
  })
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

function listenOptions(target: ListenTarget): { host: string; port: number } | { path: string } | { fd: number } {
  if (target.kind === 'unix') return { path: target.path }
  if (target.kind === 'fd') return { fd: target.fd }
  return { host: target.host, port: target.port }
}

function listenError(error: NodeJS.ErrnoException, target: ListenTarget): NearcastError {
  const place = target.kind === 'tcp' ? `${target.host} port ${target.port}` : target.kind === 'unix' ? target.path : `descriptor ${target.fd}`
  if (error.code === 'EADDRINUSE') {
    return new NearcastError('listen.in-use', `Another program listens on ${place}; stop it or choose another place.`, { cause: error })
  }
  return new NearcastError('listen.denied', `Can't listen on ${place} (${error.code ?? error.message}); choose another place.`, { cause: error })
}

/** A socket file outlives a killed process; only one that refuses connections may go. */
async function removeStaleSocket(path: string): Promise<void> {
  if (!lstatSync(path, { throwIfNoEntry: false })?.isSocket()) return
  const stale = await new Promise<boolean>((resolve) => {
    const probe = connect(path)
    probe.once('connect', () => {
      probe.destroy()
      resolve(false)
    })
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'))
  })
  if (stale) unlinkSync(path)
}
