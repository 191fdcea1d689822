/**
 * A secret of the router in a file of its own, outside the store: made once, 0600, never replaced. Whoever steals the
 * store or a backup of it has nothing without these files, and the store is worth nothing to us without them.
 */
import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, linkSync, openSync, readFileSync, statSync, unlinkSync, writeSync } from 'node:fs'
import { NearcastError } from '../../../lib/errors.ts'

/** @returns the content, made by `make` the first time. @throws NearcastError config.invalid when others may read it. */
export function keyFile(file: string, make: () => string): string {
  try {
    return read(file)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
  }
  writeSecret(file, make())
  return read(file)
}

/** 32 random bytes, kept as hexadecimal. */
export function secretKey(file: string): Buffer {
  const key = Buffer.from(
    keyFile(file, () => randomBytes(32).toString('hex')),
    'hex',
  )
  if (key.length !== 32) throw new NearcastError('config.invalid', `${file} doesn't hold a key; restore it from a copy.`)
  return key
}

/** Appears whole or not at all, and never over an existing file. */
export function writeSecret(file: string, content: string): void {
  const temporary = `${file}.${randomBytes(4).toString('hex')}`
  const fd = openSync(temporary, 'wx', 0o600)
  try {
    writeSync(fd, content)
    fsyncSync(fd)
    linkSync(temporary, file)
  } finally {
    closeSync(fd)
    unlinkSync(temporary)
  }
}

function read(file: string): string {
  const content = readFileSync(file, 'utf8')
  if ((statSync(file).mode & 0o077) !== 0) throw new NearcastError('config.invalid', `${file} is a secret: chmod 600 it.`)
  return content.trim()
}
