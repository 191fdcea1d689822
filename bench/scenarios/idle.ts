/** Idle connections: each has carried one PING, then nothing. The program is fresh, so that nothing is left from before. */
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { memoryKb } from '../process-usage.ts'
import type { Scenario } from '../scenario.ts'
import { ADDRESS } from '../world.ts'

const AT_ONCE = 50
/** Until buffers that were needed for a moment are given back. */
const SETTLE_MS = 1500

export const idle: Scenario = {
  id: 'idle',
  subject: 'nearcast',
  peers: ['haproxy', 'nginx', 'pipe', 'portable'],
  maxRounds: 5,
  rows: [{ id: 'memory', name: 'idle connection', unit: 'KB process memory', goal: { atMost: 1, against: 0.5 } }],
  async measure({ fresh, quick }) {
    const count = quick ? 500 : 2000
    const peer = await fresh()
    const sockets: Socket[] = []
    try {
      // The first ones pay for code that is loaded or compiled on use.
      for (const socket of await open(peer.port, AT_ONCE)) socket.destroy()
      await delay(SETTLE_MS)
      const before = memoryKb(peer.pids)
      while (sockets.length < count) sockets.push(...(await open(peer.port, AT_ONCE)))
      await delay(SETTLE_MS)
      return { memory: (memoryKb(peer.pids) - before) / count }
    } finally {
      for (const socket of sockets) socket.destroy()
      await peer.stop()
    }
  },
}

function open(port: number, count: number): Promise<Socket[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const socket = connect({ host: ADDRESS, port })
      await once(socket, 'connect')
      socket.on('error', () => undefined)
      socket.write('PING\r\n')
      await once(socket, 'data')
      return socket
    }),
  )
}
