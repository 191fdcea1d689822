/** The RESP codec against a bare redis-server: what it sends is read and means the same, what it reads ends where we say. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { BareRedis } from '../support/bare-redis.ts'
import { startBareRedis, talk } from '../support/bare-redis.ts'
import { Random, testSeed } from '../support/random.ts'
import { damagedText, encodeReply, pieces, randomRequest } from '../support/resp.ts'
import { readReplies, readRequests, scanReplies } from '../fuzz/resp.ts'

let engine: BareRedis
beforeAll(async () => (engine = await startBareRedis()))
afterAll(() => engine.close())

const END = 'the-very-end'
const ended = (received: Buffer): boolean => received.includes(END)
/** As read-connection.ts passes them on. */
function worded(bytes: Buffer, requests: readonly string[]): Buffer {
  let at = 0
  return Buffer.concat(
    requests.flatMap((each) => {
      const [, count, length] = JSON.parse(each) as [unknown, number, number]
      const request = bytes.subarray(at, (at += length))
      return count > 0 ? [request] : []
    }),
  )
}

const COMMANDS = [
  ...['string', 'integer', 'double', 'null', 'array', 'set', 'map', 'attrib', 'push', 'verbatim', 'true', 'false', 'bignum'].map((type) => `DEBUG PROTOCOL ${type}`),
  'SET k "v\\x00\\r\\n"', 'GET k', 'GET missing', 'INCR n', 'INCRBYFLOAT f 1.5', 'LPUSH l a b c', 'LRANGE l 0 -1', 'HSET h a 1 b 2', 'HGETALL h', 'SADD s a b', 'SMEMBERS s',
  'ZADD z 1.5 a 2 b', 'ZRANGE z 0 -1 WITHSCORES', 'ZSCORE z a', 'XADD x 1-1 f v', 'XRANGE x - +', 'BLPOP missing 0.001', 'GET l', 'NONSENSE', 'MULTI', 'GET k', 'EXEC', 'MULTI', 'NONSENSE', 'EXEC',
  'EVAL "return {1,{2,3},redis.status_reply(\'x\')}" 0', 'SUBSCRIBE a b', 'PING', 'UNSUBSCRIBE', 'COMMAND DOCS get', 'CLIENT TRACKING on', 'GEOADD g 1 1 a', 'GEOPOS g a b', 'MEMORY USAGE k', 'SCAN 0', 'LOLWUT',
]

test.each([2, 3])('replies of RESP%i: values say what was sent, ends are where they are', async (version) => {
  const raw = await talk(engine.socket, [`HELLO ${version}`, ...COMMANDS, `ECHO ${END}`, ''].join('\r\n'), ended)
  const whole = readReplies([raw])
  expect(whole.invalid).toBe(false)
  expect(whole.replies.map(encodeReply).join('')).toBe(raw.toString('latin1'))
  expect(new Set(whole.replies.map(({ kind }) => kind)).size).toBeGreaterThan(version === 2 ? 4 : 11)
  const scanned = scanReplies([raw])
  expect(scanned.ends.length).toBe(whole.replies.length)
  const random = new Random(testSeed('resp pieces'))
  for (let round = 0; round < 20; round++) expect(scanReplies(pieces(random, raw))).toEqual(scanned)
  for (let at = 0; at < raw.length; at += 7) expect(readReplies([raw.subarray(0, at), raw.subarray(at)]).replies.length).toBe(whole.replies.length)
})

test('requests, sound and damaged: the engine answers as many as we count', async () => {
  const random = new Random(testSeed('resp requests'))
  let refused = 0
  const rounds = 400
  await Promise.all(
    Array.from({ length: rounds }, async () => {
      const text = Array.from({ length: 1 + random.below(3) }, () => randomRequest(random).bytes).join('')
      const sound = random.below(2) === 0
      // A word that ends everything, however the rest is read: nothing may be left open before it.
      const bytes = Buffer.from(`${sound ? text : damagedText(random, text)}ECHO ${END}\r\n`, 'latin1')
      const read = readRequests([bytes])
      if (read.invalid || !read.requests.at(-1)?.includes(END)) {
        refused++
        return
      }
      const answered = read.requests.filter((each) => (JSON.parse(each) as [unknown, number])[1] > 0).length
      const raw = await talk(engine.socket, worded(bytes, read.requests), (received) => readReplies([received]).replies.length >= answered)
      const { replies } = readReplies([raw])
      expect([bytes.toString('latin1'), replies.length, replies.some((reply) => reply.kind === 'error' && reply.text.includes('Protocol error'))]).toEqual([bytes.toString('latin1'), answered, false])
    }),
  )
  expect(refused).toBeLessThan(rounds / 2)
})

test('words of inline commands are those that the engine reads', async () => {
  const random = new Random(testSeed('resp words'))
  const lines = Array.from({ length: 900 }, () => `ECHO ${damagedText(random, randomRequest(random).bytes).replaceAll(/[\n*$]/g, '')}\n`)
  const sound = lines.filter((line) => {
    const { requests, invalid } = readRequests([Buffer.from(line, 'latin1')])
    return !invalid && requests.length === 1 && (JSON.parse(requests[0] ?? '[]') as [unknown, number])[1] === 2
  })
  expect(sound.length).toBeGreaterThan(30)
  const raw = await talk(engine.socket, Buffer.from(`${sound.join('')}ECHO ${END}\r\n`, 'latin1'), ended)
  const said = readReplies([raw]).replies.slice(0, -1).map((reply) => (reply.kind === 'text' ? reply.text : reply.kind))
  expect(said).toEqual(sound.map((line) => (JSON.parse(readRequests([Buffer.from(line, 'latin1')]).requests[0] ?? '[]') as [string[]])[0][1]))
})
