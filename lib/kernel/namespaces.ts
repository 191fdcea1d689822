/**
 * Doing one thing in another network namespace. The thread enters it, acts, and returns before the call ends, whatever
 * the act did: nothing asynchronous may happen inside, because Node's own threads stay where they are.
 *
 * Sockets keep the namespace that they were made in, so a listener made here serves from this process afterwards.
 * Needs CAP_SYS_ADMIN in the user namespace that owns the network namespace.
 */
import { closeSync, openSync } from 'node:fs'
import { check, errnoName, systemCalls } from './ffi.ts'
import { listenTcp } from './listen.ts'
import { AF_INET6 } from './socket-address.ts'

const CLONE_NEWNET = 0x4000_0000
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000
const SIOCGIFFLAGS = 0x8913
const SIOCSIFFLAGS = 0x8914
const IFF_UP = 1
/** struct ifreq: the name is 16 bytes, then the flags. */
const IFREQ_BYTES = 40
const FLAGS_OFFSET = 16

/** `namespacePath` is `/proc/<pid>/ns/net` or a file of /run/netns. @throws NearcastError kernel.call-failed, and whatever `act` throws */
export function inNamespace<Result>(namespacePath: string, act: () => Result): Result {
  const calls = systemCalls()
  const home = openSync('/proc/thread-self/ns/net', 'r')
  try {
    const target = openSync(namespacePath, 'r')
    try {
      check(calls.setns(target, CLONE_NEWNET), `setns ${namespacePath}`)
    } finally {
      closeSync(target)
    }
    try {
      return act()
    } finally {
      const back = calls.setns(home, CLONE_NEWNET)
      // A thread that is stuck in a foreign namespace would leak every later socket into it: end instead.
      if (back < 0) {
        process.stderr.write(`kernel.call-failed: can't return to the network namespace: ${errnoName(back)}\n`)
        process.abort()
      }
    }
  } finally {
    closeSync(home)
  }
}

/** @returns a listening descriptor (for `server.listen({ fd })`); the caller owns it. `port` 0 isn't useful here: name one. */
export function listenInNamespace(namespacePath: string, host: string, port: number): number {
  return inNamespace(namespacePath, () => listenTcp(host, port).fd)
}

/** A fresh network namespace has its loopback down; without it not even ::1 answers. */
export function setLoopbackUp(namespacePath: string): void {
  inNamespace(namespacePath, () => {
    const calls = systemCalls()
    const fd = check(calls.socket(AF_INET6, SOCK_DGRAM_CLOEXEC, 0), 'socket')
    try {
      const request = Buffer.alloc(IFREQ_BYTES)
      request.write('lo')
      check(calls.ioctl(fd, SIOCGIFFLAGS, request), 'SIOCGIFFLAGS lo')
      request.writeUInt16LE(request.readUInt16LE(FLAGS_OFFSET) | IFF_UP, FLAGS_OFFSET)
      check(calls.ioctl(fd, SIOCSIFFLAGS, request), 'SIOCSIFFLAGS lo')
    } finally {
      closeSync(fd)
    }
  })
}
