/**
 * Every command of the engine, said to a bare engine and to a database behind the agent, which passes on or reads what is
 * said, in RESP2 and RESP3: no difference but the intended ones. The short run; `npm run differential` is the long one.
 * NEARCAST_SEED repeats a run.
 */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ALLOWED_AGAIN, DENIED_COMMANDS } from '../../agent/redis/engine/acl.ts'
import { DENIED_ANSWER, isDenied, LENIENT } from '../differential/intended.ts'
import { RandomCommands } from '../differential/random-commands.ts'
import { answersLogins, Batches, compare, described, docsOf, PASSWORD, payloadsOf, repliesIn, say } from '../differential/run.ts'
import type { Batch, Place } from '../differential/run.ts'
import type { CommandDoc } from '../differential/command-docs.ts'
import { startSides, WAYS } from '../differential/sides.ts'
import type { Sides } from '../differential/sides.ts'
import { encodeCommand } from '../../agent/redis/resp/encode.ts'
import { startFaultyRelay } from '../support/faulty-relay.ts'
import { Random, testSeed } from '../support/random.ts'

const BATCH = 40
/** On a machine that has much else to do. */
const BUSY_MS = 90_000
const VERSIONS = [2, 3] as const
let sides: Sides
let docs: readonly CommandDoc[]
let payloads: readonly string[]
let logins: boolean
const random = new Random(testSeed('differential'))
beforeAll(async () => {
  sides = await startSides()
  docs = await docsOf(sides.bare)
  payloads = await payloadsOf(sides.bare)
  logins = await answersLogins(sides.bare)
})
afterAll(() => sides.close())

test.each(WAYS.flatMap((way) => VERSIONS.map((version) => [way, version] as const)))('%s, RESP%i: every command is answered as by a bare engine', { timeout: BUSY_MS }, async (way, version) => {
  const batches = new Batches(random, docs, payloads, logins)
  const every = [batches.beginning(version), ...batches.all(version, BATCH)]
  const said = new Set(every.flatMap(({ commands }) => commands.map(({ name }) => name)))
  expect(docs.filter(({ name }) => !said.has(name) && !isDenied(name)).map(({ name }) => name)).toEqual([])
  expect(said.size).toBeGreaterThan(250)
  for (const batch of every) {
    const found = await compare(batch, sides.bare, sides.ours[way], random.below(3) === 0 ? random : null)
    expect(found.map(described).join('\n')).toBe('')
  }
})

test.each(WAYS)('%s: what is denied is denied, and nothing else', async (way) => {
  const commands = new RandomCommands(random, payloads)
  const denied = docs.filter(({ name }) => isDenied(name))
  expect(denied.length).toBeGreaterThan(60)
  const words = [['AUTH', PASSWORD], ...denied.map((doc) => commands.sound(doc)), ['ECHO', 'the-very-end']]
  const raw = await say(sides.ours[way], words.map((each) => encodeCommand(each, 'latin1')))
  const replies = repliesIn(raw)
  expect(replies).toHaveLength(words.length)
  const wrong = denied.flatMap(({ name, arguments: known }, index) => {
    const reply = replies[index + 1]
    const said = reply?.kind === 'error' ? reply.text : (reply?.kind ?? 'nothing')
    // A name that is nothing without a subcommand, or arguments that aren't documented.
    const isIncomplete = known.length === 0 && said === `ERR wrong number of arguments for '${name}' command`
    return DENIED_ANSWER.test(said) || isIncomplete ? [] : [`${name}: ${said}`]
  })
  expect(wrong).toEqual([])
})

test.each(LENIENT.map((each) => [each.what, each] as const))('%s: taken by an engine, refused where the agent reads', async (_what, { sent, answer, waits }) => {
  const bytes = Buffer.from(`AUTH ${PASSWORD}\r\n${sent}*1\r\n$4\r\nQUIT\r\n`, 'latin1')
  const read = async (place: Sides['bare'] | { port: number }): Promise<string> => (await say(place, [bytes], 'PONG\r\n+OK')).toString('latin1')
  expect(await read(sides.ours.reading)).toBe(`+OK\r\n${answer}+closed\r\n`)
  if (!waits) expect(await read(sides.ours.passing)).toBe(await read(sides.bare))
})

test.each(WAYS)('%s: what comes behind a QUIT costs none of the answers before it', async (way) => {
  // More than is read at once.
  const behind = Array.from({ length: 10_000 }, () => ['PING'])
  const bytes = Buffer.concat([['AUTH', PASSWORD], ['ECHO', 'said before'], ['QUIT'], ...behind].map((words) => encodeCommand(words)))
  for (let round = 0; round < 10; round++) {
    const raw = await say(sides.ours[way], [bytes])
    expect(raw.toString('latin1')).toBe('+OK\r\n$11\r\nsaid before\r\n+OK\r\n+closed\r\n')
  }
})

test('the documentation lists all intended differences, and no others', () => {
  const text = readFileSync(new URL('../../docs/redis.md', import.meta.url), 'utf8')
  const rows = text.split('\n').filter((line) => line.startsWith('| '))
  const cells = (heading: string): string[] => rows.flatMap((line) => (line.split(' | ')[0] === `| ${heading}` ? [line] : []))
  const listed = cells('denied').flatMap((line) => quoted(line.split(' | ')[1] ?? ''))
  expect(listed.toSorted()).toEqual([...DENIED_COMMANDS].toSorted())
  expect(cells('allowed all the same').flatMap((line) => quoted(line.split(' | ')[1] ?? '')).toSorted()).toEqual([...ALLOWED_AGAIN].toSorted())
  expect(cells('read strictly').map((line) => line.split(' | ')[1])).toEqual(LENIENT.map(({ what }) => what))
})

test.each(WAYS)('%s: an answer that is lost or out of its place, and another tenant’s, are found', { timeout: BUSY_MS }, async (way) => {
  const relay = await startFaultyRelay(sides.ours[way].port, sides.other.port)
  try {
    const batches = new Batches(random, docs, payloads, logins)
    expect(await compare(batches.beginning(2), sides.bare, relay)).toEqual([])
    await Promise.all([owner(sides.bare, 'this one'), owner(relay, 'this one'), owner(sides.other, 'another one')])
    const batch = (version: 2 | 3): Batch => {
      const exact = batches.exact(version, BATCH)
      return { ...exact, commands: [...exact.commands, { name: 'get', words: ['GET', 'owner'] }] }
    }
    for (const fault of ['none', 'drop', 'swap', 'tenant'] as const) {
      relay.fault = fault
      const before = relay.faults
      let found = 0
      for (const version of VERSIONS) for (let round = 0; round < 3; round++) found += (await compare(batch(version), sides.bare, relay)).length > 0 ? 1 : 0
      // Each batch has its fault, and each is found.
      expect([fault, relay.faults - before, found]).toEqual([fault, fault === 'none' ? 0 : 6, fault === 'none' ? 0 : 6])
    }
  } finally {
    await relay.close()
  }
})

function quoted(line: string): string[] {
  return [...line.matchAll(/`([^`]+)`/g)].map(([, word = '']) => word.replace('\\|', '|'))
}

function owner(place: Place, name: string): Promise<Buffer> {
  return say(place, [['AUTH', PASSWORD], ['SET', 'owner', name], ['ECHO', 'the-very-end']].map((words) => encodeCommand(words)))
}
