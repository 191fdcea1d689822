/**
 * What a process has used, from /proc: CPU time of all its threads (io_uring's workers are threads of it, too) and memory.
 *
 * The scheduler's own account (schedstat) counts nanoseconds; where the kernel has none, the clock ticks of stat must do, and
 * measurements should be long. Time of threads that ended between two readings is in the ticks only.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'

export interface CpuTime {
  /** User and system. */
  readonly totalUs: number
  /** The user part: the kernel samples it, so it is exact to a few ticks. */
  readonly userUs: number
}

const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' })) || 100
const TICK_US = 1e6 / TICKS_PER_SECOND

/** @throws Error when a process is gone. */
export function cpuTime(pids: readonly number[]): CpuTime {
  const each = pids.map(ofProcess)
  return { totalUs: sum(each.map(({ totalUs }) => totalUs)), userUs: sum(each.map(({ userUs }) => userUs)) }
}

/** Proportional set size in KB. @throws Error when a process is gone. */
export function memoryKb(pids: readonly number[]): number {
  return sum(pids.map((pid) => Number(/^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1])))
}

/** Resident set size in KB: what is shared counts for each. @throws Error when a process is gone. */
export function residentKb(pids: readonly number[]): number {
  return sum(pids.map((pid) => Number(/^Rss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1])))
}

function ofProcess(pid: number): CpuTime {
  // The name may hold anything, so fields count from its closing bracket.
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\) /s, '').split(' ')
  const userUs = Number(fields[11]) * TICK_US
  return { totalUs: scheduled(pid) ?? userUs + Number(fields[12]) * TICK_US, userUs }
}

function scheduled(pid: number): number | null {
  try {
    return sum(readdirSync(`/proc/${pid}/task`).map((task) => Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0]) / 1000))
  } catch {
    return null
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
