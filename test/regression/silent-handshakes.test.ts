/** As many silent connections as handshakes may be under way kept every proxy out of an agent, for as long as they were renewed. */
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { PortablePlane } from '../../lib/plane/portable.ts'
import { until } from '../support/until.ts'
import { Wires } from '../support/wires.ts'

test('silent connections do not keep out a proxy that has something to say', async () => {
  const wires = new Wires('tls')
  const plane = new PortablePlane()
  try {
    const listenTarget = wires.listenTarget()
    let accepted = 0
    const count = ({ type }: { readonly type: string }): [] => {
      if (type === 'accepted') accepted++
      return []
    }
    const listener = await plane.listen({ target: listenTarget, maxHandshakes: 4, handshakeTimeoutMs: 60_000, brain: () => ({ on: count }) })
    const silent = Array.from({ length: 4 }, () => connect({ host: '::1', port: listener.port }).on('error', () => undefined))
    await until('all are connected', () => silent.every((socket) => !socket.connecting))
    await wires.client(listener, listenTarget)
    await until('the proxy is in', () => accepted === 1)
    expect(listener.rejected).toEqual({ limit: 1, handshake: 0 })
    for (const socket of silent) socket.destroy()
  } finally {
    await plane.destroy()
    wires.close()
  }
})
