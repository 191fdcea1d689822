/** The store's contract on SQLite in memory and on disk, and what only a store on disk can show. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, expect, test } from 'vitest'
import { HighWater } from '../../router/registry/store/high-water.ts'
import { lockStore } from '../../router/registry/store/lock.ts'
import { SqliteStore } from '../../router/registry/store/sqlite-store.ts'
import { verifyStore } from '../../router/registry/store/verification.ts'
import { storeContract } from './store.ts'

const root = mkdtempSync(join(tmpdir(), 'nearcast-store-'))
let stores = 0
const fresh = (): string => mkdtempSync(join(root, `${++stores}-`))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const ACT = { who: 'test', what: 'test' }
const openIn = (directory: string): SqliteStore =>
  new SqliteStore({ file: join(directory, 'db'), highWater: new HighWater(join(directory, 'high-water.log')) })
const put = (store: SqliteStore, id: string): unknown =>
  store.write(ACT, (transaction) => transaction.put('orgs', { id, name: id, defaultNetwork: transaction.next('network'), createdAt: '' }))

storeContract('sqlite in memory', (options) => new SqliteStore({ file: ':memory:', ...options }))
storeContract('sqlite on disk', (options) => {
  const directory = fresh()
  return new SqliteStore({ file: join(directory, 'db'), highWater: new HighWater(join(directory, 'high-water.log')), ...options })
})

test('what was committed is there after a reopening; the audit refuses to be changed', () => {
  const directory = fresh()
  const store = openIn(directory)
  put(store, 'o1')
  store.close()
  const again = openIn(directory)
  expect([again.revision, again.get('orgs', 'o1')?.defaultNetwork]).toEqual([1, 1])
  expect(again.changesSince(0)).toHaveLength(1)
  again.close()
  const raw = new DatabaseSync(join(directory, 'db'))
  expect(() => raw.exec("UPDATE audit SET who = 'nobody'")).toThrow('only grows')
  expect(() => raw.exec('DELETE FROM audit')).toThrow('only grows')
  raw.close()
})

test('a store older than its high-water file raises itself above it, and its readers start from a snapshot', () => {
  const directory = fresh()
  const store = openIn(directory)
  put(store, 'o1')
  const raw = new DatabaseSync(join(directory, 'db'))
  raw.exec(`VACUUM INTO '${join(directory, 'copy')}'`)
  raw.close()
  put(store, 'o2')
  put(store, 'o3')
  store.close()
  const old = new SqliteStore({ file: join(directory, 'copy'), highWater: new HighWater(join(directory, 'high-water.log')) })
  expect(old.list('orgs')).toHaveLength(1)
  expect(old.revision).toBe(3)
  expect(old.changesSince(1)).toBeNull()
  put(old, 'o4')
  expect(old.get('orgs', 'o4')?.defaultNetwork).toBe(4)
  expect(old.revision).toBe(4)
  old.close()
})

test('a commit that fails after its numbers were noted doesn\'t give them to two owners', () => {
  const directory = fresh()
  const highWater = new HighWater(join(directory, 'high-water.log'))
  const store = new SqliteStore({ file: join(directory, 'db'), highWater })
  put(store, 'o1')
  highWater.raise({ network: 7, revision: 7 })
  store.close()
  const again = openIn(directory)
  put(again, 'o2')
  expect(again.get('orgs', 'o2')?.defaultNetwork).toBe(8)
  again.close()
})

test('the high-water file survives a torn last line, and says so when it is damaged elsewhere', () => {
  const file = join(fresh(), 'high-water.log')
  const first = new HighWater(file)
  first.raise({ a: 3, b: 1 })
  first.raise({ a: 4 })
  first.close()
  writeFileSync(file, '{"a":9', { flag: 'a' })
  const torn = new HighWater(file)
  expect(Object.fromEntries(torn.values)).toEqual({ a: 4, b: 1 })
  torn.raise({ a: 5 })
  torn.close()
  const whole = new HighWater(file)
  expect(whole.values.get('a')).toBe(5)
  for (let value = 6; value < 30_000; value++) if (value % 1000 === 0) whole.raise({ a: value, filler: value })
  whole.close()
  writeFileSync(file, '{"a":9}\nnonsense\n{"a":10}\n')
  expect(() => new HighWater(file)).toThrow(expect.objectContaining({ code: 'store.corrupt' }))
})

test('a high-water file that has grown is made short without losing a number', () => {
  const file = join(fresh(), 'high-water.log')
  writeFileSync(file, Array.from({ length: 20_000 }, (_, value) => `{"revision":${value},"n${value % 3}":${value}}\n`).join(''))
  const long = new HighWater(file)
  long.raise({ revision: 20_001 })
  long.close()
  const short = new HighWater(file)
  expect(Object.fromEntries(short.values)).toEqual({ revision: 20_001, n0: 19_998, n1: 19_999, n2: 19_997 })
  short.close()
})

test('one router per store: a second lock is refused until the first is released', () => {
  const file = join(fresh(), 'lock')
  const release = lockStore(file)
  expect(() => lockStore(file)).toThrow(expect.objectContaining({ code: 'store.locked' }))
  release()
  lockStore(file)()
})

test('verify finds a changed audit, a counter behind, a broken link and a foreign file', () => {
  const directory = fresh()
  const file = join(directory, 'db')
  const store = openIn(directory)
  put(store, 'o1')
  store.write(ACT, (transaction) => transaction.put('networks', { id: transaction.next('network'), org: 'o1', name: 'n', createdAt: '' }))
  store.close()
  expect(verifyStore(file, null)).toEqual([])
  const harm = (sql: string): string[] => {
    const copy = join(fresh(), 'db')
    const raw = new DatabaseSync(file)
    raw.exec(`VACUUM INTO '${copy}'`)
    raw.close()
    const victim = new DatabaseSync(copy, { enableForeignKeyConstraints: false })
    victim.exec(sql)
    victim.close()
    return verifyStore(copy, null)
  }
  expect(harm('SELECT 1')).toEqual([])
  expect(harm("DROP TRIGGER audit_update; UPDATE audit SET who = 'x' WHERE id = 1")).toEqual(['audit row 1 was changed'])
  expect(harm('DROP TRIGGER audit_delete; DELETE FROM audit WHERE id = 1')).toEqual(['the audit misses row 1'])
  expect(harm("UPDATE counters SET value = 1 WHERE name = 'network'")[0]).toContain('above its counter network')
  expect(harm("DELETE FROM records WHERE kind = 'orgs'")[0]).toContain('leads nowhere')
  const noise = join(fresh(), 'noise')
  writeFileSync(noise, 'not a database, but long enough to be looked at as if it were one')
  expect(verifyStore(noise, null)).toHaveLength(1)
})
