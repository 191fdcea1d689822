/**
 * One router per store. The lock is SQLite's own lock on a small file: the kernel gives it back when the process ends,
 * however it ends.
 */
import { DatabaseSync } from 'node:sqlite'
import { NearcastError } from '../../../lib/errors.ts'

/** @returns the release. @throws NearcastError store.locked */
export function lockStore(file: string): () => void {
  const database = new DatabaseSync(file, { timeout: 0 })
  try {
    database.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    database.close()
    throw new NearcastError('store.locked', `A router runs on this store (${file}); stop it first.`, { cause: error })
  }
  return () => {
    if (database.isOpen) database.close()
  }
}
