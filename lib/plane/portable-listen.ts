/**
 * Binding Node's server to a listen target, with errors that say what to do.
 *
 * A Unix socket file that nobody answers on is what a killed process left behind: it is removed and bound anew.
 */
import { closeSync, unlinkSync } from 'node:fs'
import { connect } from 'node:net'
import type { ListenOptions as NetListenOptions, Server } from 'node:net'
import { NearcastError } from '../errors.ts'
import { errnoName } from '../kernel/ffi.ts'
import { listenTcp } from '../kernel/listen.ts'
import { makeTransparent } from '../kernel/transparent.ts'
import type { ListenTarget } from './plane.ts'

export const BACKLOG = 4096

/** @throws NearcastError listen.in-use, listen.denied, listen.failed */
export async function bind(server: Server, target: ListenTarget): Promise<void> {
  try {
    await listen(server, target)
  } catch (error) {
    if (target.kind !== 'unix' || codeOf(error) !== 'EADDRINUSE' || (await isAnswered(target.path))) throw listenError(error, target)
    try {
      unlinkSync(target.path)
      await listen(server, target)
    } catch (again) {
      throw listenError(again, target)
    }
  }
}

function listen(server: Server, target: ListenTarget): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error): void => {
      server.off('listening', onListening)
      reject(error)
    }
    const onListening = (): void => {
      server.off('error', onError)
      // An accept that fails (no descriptors left) is tried again by the loop; without a listener it would end the process.
      server.on('error', () => undefined)
      resolve()
    }
    server.once('error', onError)
    server.once('listening', onListening)
    server.listen(target.kind === 'tcp' && target.transparent ? transparent(target.host, target.port) : optionsOf(target))
  })
}

function optionsOf(target: ListenTarget): NetListenOptions & { fd?: number } {
  switch (target.kind) {
    case 'unix':
      return { path: target.path, backlog: BACKLOG, exclusive: true }
    case 'fd':
      return { fd: target.fd, backlog: BACKLOG, exclusive: true }
    default:
      return { host: target.host, port: target.port, ipv6Only: target.host.includes(':'), backlog: BACKLOG, exclusive: true }
  }
}

/** Node has no word for it: opened beside it, and owned by the server from then on. @throws NearcastError listen.in-use, listen.failed */
function transparent(host: string, port: number): NetListenOptions & { fd: number } {
  // Node takes no backlog for a descriptor.
  const { fd } = listenTcp(host, port, BACKLOG)
  const result = makeTransparent(fd)
  if (result >= 0) return { fd, exclusive: true }
  closeSync(fd)
  throw Object.assign(new Error(errnoName(result)), { code: errnoName(result) })
}

export function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    socket.on('error', (error) => resolve(codeOf(error) !== 'ECONNREFUSED'))
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
}

export function listenError(error: unknown, target: ListenTarget): NearcastError {
  if (error instanceof NearcastError) return error
  const place = target.kind === 'tcp' ? `[${target.host}]:${target.port}` : target.kind === 'unix' ? target.path : `descriptor ${target.fd}`
  switch (codeOf(error)) {
    case 'EADDRINUSE':
      return new NearcastError('listen.in-use', `${place} is taken by another program; stop that one or choose another place.`, { cause: error })
    case 'EACCES':
    case 'EPERM':
      return new NearcastError('listen.denied', `This user may not listen on ${place}; choose a port from 1024 or another directory.`, { cause: error })
    default:
      return new NearcastError('listen.failed', `Can't listen on ${place} (${codeOf(error) || 'unknown error'}); check that the address is this host's.`, { cause: error })
  }
}
