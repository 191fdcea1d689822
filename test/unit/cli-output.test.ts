/** Tables and facts: whole where programs cut them, between words where a terminal ends. */
import { stripVTControlCharacters } from 'node:util'
import { expect, test } from 'vitest'
import { statisticsObject, usageLines } from '../../cli/commands/redis-statistics.ts'
import { bytes, count, facts, table } from '../../cli/output.ts'

const WIDE = Number.POSITIVE_INFINITY
const plain = (text: string): string[] => stripVTControlCharacters(text).split('\n')

test('a table is as wide as its texts, where nothing ends it', () => {
  expect(plain(table(['what', 'for'], [['a', 'so many words that a terminal would end'], [null, 7]], WIDE))).toEqual(['WHAT  FOR', 'a     so many words that a terminal would end', '-     7'])
  expect(plain(table(['what'], [], WIDE))).toEqual(['none'])
})

test('in a terminal the widest columns are broken between words, and no word is cut', () => {
  const lines = plain(table(['what', 'for', 'found'], [['yes', 'the packet filter of the kernel', 'it works here'], ['no', 'b', 'c']], 34))
  expect(lines).toEqual(['WHAT  FOR            FOUND', 'yes   the packet     it works here', '      filter of the', '      kernel', 'no    b              c'])
  const key = 'AwkPOA3RmeV1m08Zc2ySKawfTlmub1Ulhl0sq3XW7ys='
  expect(plain(table(['name', 'key'], [['laptop', key]], 20)).join(' ')).toContain(key)
})

test('facts go on below their own column', () => {
  expect(plain(facts([['limits', 'maxClients 20, commandsPerSecond 100'], ['url', 'redis://a-word-that-is-longer-than-the-line']], 24))).toEqual(['limits  maxClients 20,', '        commandsPerSecond', '        100', 'url     redis://a-word-that-is-longer-than-the-line'])
  expect(plain(facts([['a', null]], WIDE))).toEqual(['a  -'])
})

test('how a database is used: warnings from four fifths of a limit on, latencies as the engine and the node know them', () => {
  const node = { node: 'mad-1', role: 'primary', resting: false, connections: 2, commands: { total: 9, day: 8, month: 9, perSecond: 0.5 }, bytes: { up: 1, down: 1, day: 2048, month: 2048 }, hits: 3, misses: 1, engine: { keys: 2, memoryBytes: 14 << 20, evicted: 0, expired: 0 }, diskBytes: 177, latency: null, engineLatency: { read: { count: 4, meanMs: 0.0123, p99Ms: 4 }, write: null }, limits: [{ limit: 'commandsPerDay', allowed: 10, used: 8, hits: 0 }, { limit: 'maxClients', allowed: 9, used: 2, hits: 1 }] }
  const shown = (memory: number): string => plain(usageLines(statisticsObject.parse({ nodes: [node], missing: [{ node: 'gru-1', code: 'redis.not-answering' }] }), memory).join('\n')).join('\n')
  expect(shown(16 << 20)).toMatch(/memory, disk +14 MiB, 177 bytes\n.*latency in the engine +reads 12 µs on average, 99 % within 4\.0 ms; no writes\ndata size: 14 MiB of 16 MiB used\ncommandsPerDay: 8 of 10 used\nmaxClients: met 1 time\ngru-1 does not say how it is used: redis\.not-answering$/)
  expect(shown(18 << 20)).not.toContain('data size')
})

test('numbers that people read', () => {
  expect([0, 1023, 1024, 1_118_576, 104_857_600, 1 << 30, 5 * 2 ** 40].map(bytes)).toEqual(['0 bytes', '1023 bytes', '1 KiB', '1.07 MiB', '100 MiB', '1 GiB', '5 TiB'])
  expect([count(1, 'proxy', 'proxies'), count(0, 'agent')]).toEqual(['1 proxy', '0 agents'])
})
