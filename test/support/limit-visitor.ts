/** A thread that enters and leaves accounts as fast as it can, and reports how often it was in. */
import { parentPort, workerData } from 'node:worker_threads'
import { LimitCounters } from '../../proxy/tables/limit-counters.ts'
import type { LimitCountersHandle } from '../../proxy/tables/limit-counters.ts'

export interface VisitorStart {
  readonly handle: LimitCountersHandle
  readonly address: number
  readonly network: number
  readonly visits: number
  /** Whether it leaves again. */
  readonly leaves: boolean
  /** One word: begins when it isn't 0. */
  readonly begin: SharedArrayBuffer
}

export interface VisitorReport {
  readonly entered: number
  /** The most that it saw in the account at once. */
  readonly most: number
}

function visit({ handle, address, network, visits, leaves, begin }: VisitorStart): VisitorReport {
  const counters = new LimitCounters(handle)
  Atomics.wait(new Int32Array(begin), 0, 0)
  let entered = 0
  let most = 0
  for (let turn = 0; turn < visits; turn++) {
    // The clock stands still: nothing is added while they hammer.
    const isIn = counters.enter(address, network, 5000) === null
    most = Math.max(most, counters.open(address))
    if (!isIn) continue
    entered++
    if (leaves) counters.leave(address, network)
  }
  return { entered, most }
}

parentPort?.postMessage(visit(workerData as VisitorStart), [])
