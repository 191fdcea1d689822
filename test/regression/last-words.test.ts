/**
 * A server on a Unix socket (a database behind its agent) that answers and closes with input unread: the kernel calls that
 * a reset, which was handed on to the client and took the end of the answer with it.
 */
import { expect, test } from 'vitest'
import { PortablePlane } from '../../lib/plane/portable.ts'
import type { PlaneAction } from '../../lib/plane/plane.ts'
import { until } from '../support/until.ts'
import { Wires } from '../support/wires.ts'

/**
 * `a slow client`: more than its kernel takes while it reads nothing. `a rate`: the second of two chunks, smaller than what
 * a socket reads ahead, is held back here when the reset arrives.
 */
test.each([
  ['a slow client', 150_000, null],
  ['a rate', 100_000, 10_000],
] as const)('what a server said before it closed on unread input arrives in spite of %s', async (_why, bytes, rate) => {
  const words = Buffer.alloc(bytes, 'x')
  const [outside, inside] = [new Wires('tcp'), new Wires('unix')]
  const plane = new PortablePlane()
  if (rate !== null) plane.setRate('narrow', { bytesPerSecondDown: rate })
  try {
    let closed = false
    const target = await inside.server((end) => {
      end.socket.pause()
      end.socket.end(words, () => end.socket.destroy())
      end.socket.on('close', () => (closed = true))
    })
    const listenTarget = outside.listenTarget()
    const dial: PlaneAction[] = [{ type: 'dial', target, timeoutMs: 1000 }, { type: 'write', side: 'upstream', bytes: Buffer.from('unread') }]
    let over = false
    const listener = await plane.listen({
      target: listenTarget,
      brain: () => ({
        on({ type }) {
          if (type === 'closed') over = true
          return type === 'accepted' ? dial : type === 'dialled' ? [{ type: 'carry', rates: rate === null ? [] : ['narrow'] }] : []
        },
      }),
    })
    const client = await outside.client(listener, listenTarget, true)
    await until('the server has closed', () => closed)
    await new Promise((resolve) => setImmediate(resolve))
    client.socket.resume()
    await until('the client has heard the end', () => client.ended || client.closed)
    expect(client.receivedBytes).toBe(words.length)
    expect(client.errorCode).toBeNull()
    client.socket.end()
    await until('over', () => over)
  } finally {
    await plane.destroy()
    outside.close()
    inside.close()
  }
})
