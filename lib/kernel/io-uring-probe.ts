/** Whether this process may use io_uring: a ring of one entry is made and closed. See io_uring_setup(2). */
import { closeSync, readFileSync } from 'node:fs'
import { asNearcastError } from '../errors.ts'
import { errnoName, systemCalls } from './ffi.ts'
import type { Support } from './ffi.ts'

/** The same number on every architecture. */
const SYS_IO_URING_SETUP = 425
/** struct io_uring_params. */
const PARAMS_BYTES = 120

export function probeIoUring(): Support {
  try {
    const result = systemCalls().syscall(SYS_IO_URING_SETUP, 1, Buffer.alloc(PARAMS_BYTES))
    if (result < 0) return { answer: 'no', reason: `io_uring_setup: ${errnoName(result)}${disabled()}` }
    closeSync(result)
    return { answer: 'yes' }
  } catch (error) {
    return { answer: 'unknown', reason: asNearcastError(error).message }
  }
}

function disabled(): string {
  try {
    const value = readFileSync('/proc/sys/kernel/io_uring_disabled', 'utf8').trim()
    return value === '0' ? '' : ` (kernel.io_uring_disabled is ${value})`
  } catch {
    return ''
  }
}
