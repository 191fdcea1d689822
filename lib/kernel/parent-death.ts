/**
 * Ends this process when its parent ends: PR_SET_PDEATHSIG, prctl(2). The kernel does it, so SIGKILL of the parent counts too.
 */
import { check, systemCalls } from './ffi.ts'
import { constants } from 'node:os'

const PR_SET_PDEATHSIG = 1

/** `parentPid` is who the parent was meant to be: had it died before this call, no signal would ever come. */
export function dieWithParent(signal: 'SIGTERM' | 'SIGKILL', parentPid: number): void {
  check(systemCalls().prctl(PR_SET_PDEATHSIG, constants.signals[signal], 0, 0, 0), 'PR_SET_PDEATHSIG')
  if (process.ppid !== parentPid) process.kill(process.pid, signal)
}
