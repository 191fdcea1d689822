/** Tables and facts: whole where programs cut them, between words where a terminal ends. */
import { stripVTControlCharacters } from 'node:util'
import { expect, test } from 'vitest'
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

test('numbers that people read', () => {
  expect([0, 1023, 1024, 1_118_576, 104_857_600, 1 << 30, 5 * 2 ** 40].map(bytes)).toEqual(['0 bytes', '1023 bytes', '1 KiB', '1.07 MiB', '100 MiB', '1 GiB', '5 TiB'])
  expect([count(1, 'proxy', 'proxies'), count(0, 'agent')]).toEqual(['1 proxy', '0 agents'])
})
