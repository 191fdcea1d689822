/**
 * `store backup <file>`   a consistent copy while the router runs; without the keys, which are worth nothing in one place
 * `store restore <file>`  puts a copy in place; refused while a router runs
 * `store verify [file]`   checks the store, or a copy of it
 *
 * A restored store is as old as its copy, but never hands out a number twice: the high-water file beside it stays, and the
 * store raises itself above it when it is opened. Tokens and programs revoked since the backup are in force again; revoke
 * them again. Programs that joined since have to join again.
 */
import { chmodSync, closeSync, copyFileSync, existsSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { NearcastError } from '../lib/errors.ts'
import type { RouterConfig } from './config.ts'
import { FILES } from './registry/registry.ts'
import { HighWater } from './registry/store/high-water.ts'
import { lockStore } from './registry/store/lock.ts'
import { SqliteStore, storeError } from './registry/store/sqlite-store.ts'
import { verifyStore } from './registry/store/verification.ts'
import { Vault } from './registry/trust/credentials.ts'
import { secretKey } from './registry/trust/key-file.ts'

/** @throws NearcastError config.invalid (usage), store.locked, store.corrupt, store.full */
export function storeCommand(config: RouterConfig, [action, file]: readonly string[]): void {
  if (action === 'backup' && file !== undefined) {
    backup(config.stateDir, file)
    say(`Backed up to ${file}. The keys (*.key, ca.pem) aren't in it: keep a copy of them elsewhere.`)
  } else if (action === 'restore' && file !== undefined) {
    const revision = restore(config.stateDir, file)
    say(`Restored ${file}; the registry is at revision ${revision}. Numbers given out since stay used.`)
  } else if (action === 'verify') {
    sound(file ?? join(config.stateDir, FILES.store), config.stateDir)
    say('The store is sound.')
  } else {
    throw new NearcastError('config.invalid', 'Write: store backup <file> | store restore <file> | store verify [file], with --config router.toml.')
  }
}

export function backup(stateDir: string, file: string): void {
  if (existsSync(file)) throw new NearcastError('config.invalid', `${file} exists already; name a new file.`)
  const database = openExisting(join(stateDir, FILES.store))
  const temporary = `${file}.part`
  try {
    rmSync(temporary, { force: true })
    database.prepare('VACUUM INTO ?').run(temporary)
    chmodSync(temporary, 0o600)
    flush(temporary)
    renameSync(temporary, file)
    flush(dirname(file))
  } catch (error) {
    rmSync(temporary, { force: true })
    throw storeError(error)
  } finally {
    database.close()
  }
}

/** @returns the revision that the registry continues from. */
export function restore(stateDir: string, file: string): number {
  const unlock = lockStore(join(stateDir, FILES.lock))
  try {
    sound(file, stateDir)
    const target = join(stateDir, FILES.store)
    const temporary = `${target}.restore`
    copyFileSync(file, temporary)
    chmodSync(temporary, 0o600)
    flush(temporary)
    // The write-ahead log belongs to the store that is replaced.
    for (const suffix of ['-wal', '-shm']) rmSync(target + suffix, { force: true })
    renameSync(temporary, target)
    flush(stateDir)
    const store = new SqliteStore({ file: target, highWater: new HighWater(join(stateDir, FILES.highWater)) })
    const { revision } = store
    store.close()
    return revision
  } finally {
    unlock()
  }
}

function sound(file: string, stateDir: string): void {
  const key = join(stateDir, FILES.credentialsKey)
  const faults = existsSync(file) ? verifyStore(file, existsSync(key) ? new Vault(secretKey(key)) : null) : ["isn't there"]
  if (faults.length > 0) throw new NearcastError('store.corrupt', `${file}: ${faults.slice(0, 10).join('; ')}.`)
}

function openExisting(file: string): DatabaseSync {
  if (!existsSync(file)) throw new NearcastError('store.corrupt', `There is no store at ${file}; is stateDir right?`)
  return new DatabaseSync(file, { timeout: 5000 })
}

function flush(path: string): void {
  const fd = openSync(path, 'r')
  fsyncSync(fd)
  closeSync(fd)
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
