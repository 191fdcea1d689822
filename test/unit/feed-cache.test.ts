import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { FeedCache } from '../../lib/feed/cache.ts'
import type { Change } from '../../lib/feed/messages.ts'

let directory: string
let file: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'nearcast-cache-'))
  file = join(directory, 'feed.json')
})
afterEach(() => rmSync(directory, { recursive: true }))

const row = (key: string): Change => ({ table: 'networks', key, row: { id: Number(key), org: 'o', name: 'n' } })
const keys = async (): Promise<unknown> => {
  const cached = await new FeedCache(file).load()
  return [cached?.revision, cached?.rows.map(({ key }) => key)]
}

async function written(): Promise<FeedCache> {
  const cache = new FeedCache(file)
  await cache.save({ revision: 1, reader: 'me', rows: [row('1')] })
  await cache.append([{ revision: 2, rows: [row('2')] }, { revision: 3, rows: [row('3')] }])
  await cache.append([{ revision: 4, rows: [row('4')] }])
  await cache.close()
  return cache
}

test('table and journal together are what was written; both are for nobody else', async () => {
  await written()
  expect(await keys()).toEqual([4, ['1', '2', '3', '4']])
  for (const each of [file, `${file}.journal`]) expect(statSync(each).mode & 0o777).toBe(0o600)
})

test('a journal that was cut anywhere counts up to its last whole line', async () => {
  await written()
  const whole = readFileSync(`${file}.journal`, 'utf8')
  const ends = [...whole.matchAll(/\n/g)].map(({ index }) => index)
  for (let length = 0; length <= whole.length; length += 7) {
    writeFileSync(`${file}.journal`, whole.slice(0, length))
    // The line end itself may be missing: the checksum tells that the line is whole.
    const lines = ends.filter((end) => end <= length).length
    const revision = [1, 1, 2, 3, 4][lines] ?? 4
    expect((await new FeedCache(file).load())?.revision).toBe(revision)
  }
})

test('a journal of an earlier table is not applied, and a damaged line ends it', async () => {
  const cache = await written()
  const journal = readFileSync(`${file}.journal`)
  await cache.save({ revision: 9, reader: 'me', rows: [row('9')] })
  expect(await keys()).toEqual([9, ['9']])
  await cache.append([{ revision: 10, rows: [row('10')] }])
  await cache.close()
  expect(await keys()).toEqual([10, ['9', '10']])
  appendFileSync(`${file}.journal`, 'nonsense\n')
  expect(await keys()).toEqual([10, ['9', '10']])
  writeFileSync(`${file}.journal`, journal)
  expect(await keys()).toEqual([9, ['9']])
})

test('a fresh object never appends to what it did not write', () => {
  expect(new FeedCache(file).journalIsLong).toBe(true)
})
