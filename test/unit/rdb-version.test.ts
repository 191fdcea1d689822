import { expect, test } from 'vitest'
import type { CopyContent } from '../../agent/redis/copies/copy-source.ts'
import { checkRdbVersion, rdbVersion, rdbVersionOf } from '../../agent/redis/copies/rdb-version.ts'

const redis = (version: string): number | null => rdbVersion(new Map([['redis_version', version]]))
/** It names a Redis that it is compatible with, too. */
const valkey = (version: string): number | null => rdbVersion(new Map([['redis_version', '7.2.4'], ['valkey_version', version]]))

function content(text: string): CopyContent {
  return {
    bytes: text.length,
    pieces: async function* () {
      yield Buffer.from(text)
      throw new Error('no more was to be read')
    },
  }
}

test('what a server writes and reads follows from its version; an unknown one is not judged', () => {
  expect(['6.2.14', '7.0.15', '7.2.4', '7.4.1', '8.0.2', '9.9.9', ''].map(redis)).toEqual([9, 10, 11, 12, 12, null, null])
  expect(['7.2.9', '8.0.1', '8.1.1', '9.0.0', '10.0.0'].map(valkey)).toEqual([11, 11, 11, 80, null])
})

test('a copy says its own, and a newer one than the engine loads is refused', async () => {
  expect(await rdbVersionOf(content('REDIS0011 and so on'))).toBe(11)
  expect(await rdbVersionOf(content('something else'))).toBeNull()
  expect(() => checkRdbVersion(11, 10)).toThrow('loads RDB 10 and older, and this is RDB 11')
  for (const [theirs, ours] of [[10, 10], [9, 11], [null, 10], [80, null]] as const) checkRdbVersion(theirs, ours)
})
