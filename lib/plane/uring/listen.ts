/**
 * A listening socket for the ring, from a listen target, with the same errors as on Node's sockets.
 *
 * A Unix socket file that nobody answers on is what a killed process left behind: it is removed and bound anew.
 */
import { unlinkSync } from 'node:fs'
import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { Descriptor } from '../../kernel/descriptor.ts'
import { check, errnoName } from '../../kernel/ffi.ts'
import { bindAndListen, isUnixName, listenAgain, localName, makeBlocking, openStream, tcpAddress, tuneTcp, unixAddress } from '../../kernel/stream-socket.ts'
import type { StreamAddress } from '../../kernel/stream-socket.ts'
import { makeTransparent } from '../../kernel/transparent.ts'
import { KEEP_ALIVE_AFTER_MS } from '../dialling.ts'
import type { ListenTarget } from '../plane.ts'
import { BACKLOG, isAnswered, listenError } from '../portable-listen.ts'

export interface OpenListener {
  readonly descriptor: Descriptor
  /** Of a socket file that was made here. */
  readonly path: string | null
}

/** @throws NearcastError listen.in-use, listen.denied, listen.failed */
export async function openListener(target: ListenTarget): Promise<OpenListener> {
  try {
    return await open(target)
  } catch (error) {
    throw listenError(error, target)
  }
}

async function open(target: ListenTarget): Promise<OpenListener> {
  if (target.kind === 'fd') return { descriptor: inherited(target.fd), path: null }
  if (target.kind === 'tcp') {
    const descriptor = bound(await resolved(target.host, target.port))
    return { descriptor: closedUnless(descriptor, target.transparent ? makeTransparent(descriptor.fd) : 0), path: null }
  }
  const { path } = target
  const address = unixAddress(path)
  if (address === null) throw coded('ENAMETOOLONG')
  try {
    return { descriptor: bound(address), path }
  } catch (error) {
    if (!isInUse(error) || (await isAnswered(path))) throw error
    unlinkSync(path)
    return { descriptor: bound(address), path }
  }
}

async function resolved(host: string, port: number): Promise<StreamAddress> {
  return tcpAddress(isIP(host) === 0 ? (await lookup(host)).address : host, port)
}

function bound(address: StreamAddress): Descriptor {
  const descriptor = new Descriptor(check(openStream(address.family), 'socket'))
  return closedUnless(descriptor, bindAndListen(descriptor.fd, address, BACKLOG))
}

function inherited(fd: number): Descriptor {
  const result = listenAgain(fd, BACKLOG)
  if (result < 0) throw coded(errnoName(result))
  makeBlocking(fd)
  return closedUnless(new Descriptor(fd), 0)
}

function closedUnless(descriptor: Descriptor, result: number): Descriptor {
  if (result < 0) {
    descriptor.close()
    throw coded(errnoName(result))
  }
  const name = localName(descriptor.fd)
  if (name !== null && !isUnixName(name)) tuneTcp(descriptor.fd, KEEP_ALIVE_AFTER_MS / 1000)
  return descriptor
}

function coded(code: string): Error {
  return Object.assign(new Error(code), { code })
}

function isInUse(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'
}
