/**
 * Reaping what isn't ours: process 1 of a pid namespace inherits every orphan, and Node waits only for children that it
 * has spawned itself. waitid(2).
 *
 * A zombie is reaped when it was seen by two calls: Node reaps its own between the two (its signal handler runs on each
 * turn of the event loop), so this never takes an exit status away from it. Call it from a timer, a few times a second.
 */
import { systemCalls } from './ffi.ts'

const P_ALL = 0
const P_PID = 1
const WNOHANG = 1
const WEXITED = 4
const WNOWAIT = 0x0100_0000
const SIGINFO_BYTES = 128
const PID_OFFSET = 16

export class OrphanReaper {
  #seen = 0

  /** @returns how many were reaped. */
  reap(): number {
    for (let reaped = 0; ; reaped++) {
      const pid = waitid(P_ALL, 0, WEXITED | WNOHANG | WNOWAIT)
      const known = pid !== 0 && pid === this.#seen
      this.#seen = pid
      if (!known) return reaped
      waitid(P_PID, pid, WEXITED | WNOHANG)
    }
  }
}

function waitid(kind: number, id: number, options: number): number {
  const info = Buffer.alloc(SIGINFO_BYTES)
  return systemCalls().waitid(kind, id, info, options) < 0 ? 0 : info.readInt32LE(PID_OFFSET)
}
