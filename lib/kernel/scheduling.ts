/**
 * How long a process's turns on a processor are, and how much of it it has had: sched_setattr(2), clock_gettime(2).
 *
 * A patient process has long turns, rarely: it gets its share as before, but whoever wakes up beside it goes first, at once,
 * instead of waiting for the end of its turn. That takes no privilege and can be taken back by anybody who may signal it,
 * unlike a nice value. Turns have lengths since Linux 6.12; before that, patience means only not to interrupt others.
 */
import { getPriority } from 'node:os'
import { systemCalls } from './ffi.ts'

const SCHED_SETATTR = process.arch === 'arm64' ? 274 : 314
/** struct sched_attr as of its first version. */
const ATTRIBUTE_BYTES = 48
const [POLICY_AT, NICE_AT, RUNTIME_AT] = [4, 16, 24]
const [SCHED_OTHER, SCHED_BATCH] = [0, 3]
/** The longest that the kernel takes. */
const PATIENT_TURN_NS = 100_000_000n
/** The kernel's own. */
const ORDINARY_TURN_NS = 0n
const TIMESPEC_BYTES = 16

/** Of its main thread. @returns false: it has ended, or isn't ours. */
export function setPatience(pid: number, patient: boolean): boolean {
  const attributes = Buffer.alloc(ATTRIBUTE_BYTES)
  attributes.writeUInt32LE(ATTRIBUTE_BYTES, 0)
  attributes.writeUInt32LE(patient ? SCHED_BATCH : SCHED_OTHER, POLICY_AT)
  attributes.writeBigUInt64LE(patient ? PATIENT_TURN_NS : ORDINARY_TURN_NS, RUNTIME_AT)
  try {
    // As it is: the call sets it, too.
    attributes.writeInt32LE(getPriority(pid), NICE_AT)
  } catch {
    return false
  }
  return systemCalls().schedSetattr(SCHED_SETATTR, pid, attributes, 0) === 0
}

/** Milliseconds of all its threads; null: there is no such process. A microsecond or two. */
export function processorMs(pid: number): number | null {
  const time = Buffer.alloc(TIMESPEC_BYTES)
  // A clock's number is made of the process's (CPUCLOCK_SCHED).
  const clock = (~pid << 3) | 2
  if (systemCalls().clockGettime(clock, time) < 0) return null
  return Number(time.readBigInt64LE(0)) * 1000 + Number(time.readBigInt64LE(8)) / 1e6
}
