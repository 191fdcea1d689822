/**
 * One port for several threads: a listening socket each, and the kernel deals out connections by a word of their
 * destination address (kernel/reuse-port.ts), so that all of one network meet the same thread and whatever is counted for
 * a network is counted in one place.
 */
import { Descriptor } from '../../kernel/descriptor.ts'
import { check, errnoName } from '../../kernel/ffi.ts'
import { reusePort, steerByDestination } from '../../kernel/reuse-port.ts'
import { bindAndListen, localName, openStream, tcpAddress } from '../../kernel/stream-socket.ts'
import { makeTransparent } from '../../kernel/transparent.ts'
import { BACKLOG, listenError } from '../portable-listen.ts'

export interface ListenGroupOptions {
  /** An IPv6 address; `::` is for IPv6 alone. */
  readonly host: string
  /** 0: the kernel picks one. */
  readonly port: number
  readonly count: number
  /** Where in the destination address the deciding word stands: 0 to 12. */
  readonly steerByByte: number
  /** As of a listen target. */
  readonly transparent?: true | undefined
}

export interface ListenGroup {
  /** In the order of their places; one that is closed moves the others. Whoever called owns them. */
  readonly descriptors: readonly Descriptor[]
  readonly port: number
}

/** @throws NearcastError listen.in-use, listen.denied, listen.failed, kernel.call-failed */
export function listenGroup({ host, port, count, steerByByte, transparent }: ListenGroupOptions): ListenGroup {
  const target = { kind: 'tcp', host, port } as const
  const descriptors: Descriptor[] = []
  const listening = (at: number, shared: boolean): Descriptor => {
    const address = tcpAddress(host, at)
    const descriptor = new Descriptor(check(openStream(address.family), 'socket'))
    descriptors.push(descriptor)
    if (shared) reusePort(descriptor.fd)
    const bound = bindAndListen(descriptor.fd, address, BACKLOG)
    const result = bound >= 0 && transparent ? makeTransparent(descriptor.fd) : bound
    if (result < 0) throw listenError(Object.assign(new Error(errnoName(result)), { code: errnoName(result) }), target)
    return descriptor
  }
  try {
    // Alone first: a port that somebody else shares would be shared with us, too.
    const alone = listening(port, false)
    const common = localName(alone.fd)?.readUInt16BE(2) ?? port
    descriptors.pop()?.close()
    for (let place = 0; place < count; place++) {
      const { fd } = listening(common, true)
      if (place === 0 && count > 1) steerByDestination(fd, steerByByte, count)
    }
    return { descriptors, port: common }
  } catch (error) {
    for (const descriptor of descriptors) descriptor.close()
    throw error
  }
}
