/** A process whose portable plane listens on the inherited descriptor 3 and echoes through the dialled port given. */
import { PortablePlane } from '../../lib/plane/portable.ts'

const plane = new PortablePlane()
const listener = await plane.listen({
  target: { kind: 'fd', fd: 3 },
  brain: () => ({
    on(event) {
      if (event.type === 'accepted') return [{ type: 'write', side: 'client', bytes: Buffer.from('inherited') }, { type: 'close' }]
      return []
    },
  }),
})
process.stdout.write(`${listener.port}\n`)
