/** A process whose plane (named as its argument) listens on the inherited descriptor 3 and says `inherited` to whoever comes. */
import { choosePlane } from '../../lib/plane/choose.ts'

const { plane } = choosePlane(process.argv[2] === 'uring' ? 'uring' : 'portable')
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
