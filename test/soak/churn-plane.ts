/**
 * A plane in a process of its own that carries everything to one port, and says what it holds when it is asked: the side of
 * churn.ts that is measured. Run with --expose-gc.
 */
import { readdirSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { choosePlane } from '../../lib/plane/choose.ts'
import type { Brain, Plane } from '../../lib/plane/plane.ts'
import { UringPlane } from '../../lib/plane/uring/uring.ts'

export interface Held {
  readonly open: number
  readonly accepted: number
  readonly descriptors: number
  /** Of the kernel's shared buffers; 0 on the portable plane. */
  readonly buffers: number
  readonly heapBytes: number
  readonly memoryBytes: number
}

/** Where to carry what comes from now on; or what it holds, once at most so many are open or 10 s later. */
export type Question = { readonly target: number } | { readonly most: number }

function held(plane: Plane, accepted: number): Held {
  globalThis.gc?.()
  const { heapUsed, rss } = process.memoryUsage()
  const buffers = plane instanceof UringPlane ? plane.use.buffers : 0
  return { open: plane.openConnections, accepted, descriptors: readdirSync('/proc/self/fd').length - 1, buffers, heapBytes: heapUsed, memoryBytes: rss }
}

let target = 0
const { plane } = choosePlane(process.argv[2] === 'uring' ? 'uring' : 'portable')
let accepted = 0
const brain = (): Brain => ({
  on(event) {
    if (event.type === 'accepted') {
      accepted++
      return [{ type: 'dial', target: { kind: 'tcp', host: '::1', port: target }, timeoutMs: 10_000 }]
    }
    if (event.type === 'dialled') return [{ type: 'carry' }]
    return event.type === 'dial-failed' ? [{ type: 'reset' }] : []
  },
})
const listener = await plane.listen({ target: { kind: 'tcp', host: '::', port: 0 }, brain, maxConnections: 100_000 })
process.on('message', (question: Question) => {
  const answer = async (): Promise<void> => {
    if ('target' in question) target = question.target
    // What the other side has closed takes a moment to be closed here.
    else for (let turn = 0; turn < 200 && plane.openConnections > question.most; turn++) await delay(50)
    process.send?.(held(plane, accepted))
  }
  void answer()
})
process.on('disconnect', () => void plane.destroy().then(() => process.exit(0)))
process.send?.(listener.port)
