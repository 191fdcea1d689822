/**
 * An advisory lock on a file, flock(2): the kernel takes it back when its holder ends, however that happens. It belongs to
 * the open file, so two holders in one process exclude each other as well.
 */
import { closeSync, openSync } from 'node:fs'
import { constants } from 'node:os'
import { Descriptor } from './descriptor.ts'
import { check, systemCalls } from './ffi.ts'

const LOCK_EX_NB = 2 | 4

/** Makes the file when there is none. @returns null: somebody else holds it. @throws NearcastError kernel.call-failed, and what the file system says */
export function lockFile(path: string): Descriptor | null {
  const fd = openSync(path, 'a', 0o600)
  const result = systemCalls().flock(fd, LOCK_EX_NB)
  if (result >= 0) return new Descriptor(fd)
  closeSync(fd)
  if (result === -constants.errno.EAGAIN) return null
  check(result, `flock ${path}`)
  return null
}
