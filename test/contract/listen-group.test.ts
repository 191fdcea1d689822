/** One port for several threads: who gets a connection, and whose port it is. */
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { probeIoUring } from '../../lib/kernel/io-uring-probe.ts'
import { listenGroup } from '../../lib/plane/uring/listen-group.ts'
import type { ListenGroup } from '../../lib/plane/uring/listen-group.ts'

const support = probeIoUring()
const skipped = support.answer === 'yes' ? '' : ` (skipped: io_uring is ${support.kind} here)`
const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

function group(count: number, port = 0): ListenGroup {
  // The last word of ::1 is 1.
  const made = listenGroup({ host: '::1', port, count, steerByByte: 12 })
  closing.push(() => made.descriptors.forEach((descriptor) => descriptor.close()))
  return made
}

/** @returns how often each place was met. */
async function met({ descriptors, port }: ListenGroup, connections: number): Promise<number[]> {
  const places = descriptors.map(() => 0)
  const servers = descriptors.map((descriptor, place) => {
    const server = createServer((socket) => {
      places[place] = (places[place] ?? 0) + 1
      socket.end()
    })
    server.listen({ fd: descriptor.give() })
    closing.push(() => new Promise((resolve) => server.close(resolve)))
    return server
  })
  for (const server of servers) if (!server.listening) await once(server, 'listening')
  for (let index = 0; index < connections; index++) {
    const socket = connect({ host: '::1', port })
    socket.resume()
    await once(socket, 'close')
  }
  return places
}

test.skipIf(skipped)(`connections to one destination meet one place, by its word modulo the number of places${skipped}`, async () => {
  expect(await met(group(3), 30)).toEqual([0, 30, 0])
  expect(await met(group(1), 3)).toEqual([3])
})

test.skipIf(skipped)(`a port that others share among themselves is in use all the same${skipped}`, () => {
  const { port } = group(2)
  expect(() => group(2, port)).toThrow(expect.objectContaining({ code: 'listen.in-use' }))
})
