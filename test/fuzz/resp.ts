/**
 * One hostile input for the RESP codec: random requests and replies, most of them damaged, whole and in pieces.
 *
 * What must hold: sound bytes say what was written; damaged ones are read the same in pieces as whole; the scanner, which
 * only looks for boundaries, finds those of the decoder.
 */
import type { Reply } from '../../agent/redis/resp/reply-decoder.ts'
import { ReplyDecoder } from '../../agent/redis/resp/reply-decoder.ts'
import { ReplyScanner } from '../../agent/redis/resp/reply-scanner.ts'
import { RequestReader } from '../../agent/redis/resp/request-reader.ts'
import type { Random } from '../support/random.ts'
import { damagedText, encodeReply, pieces, randomReply, randomRequest } from '../support/resp.ts'

export interface RespTally {
  whole: number
  invalid: number
  /** Damaged, and still some frames long. */
  past: number
}

/** @throws Error what is wrong, with the bytes */
export function respOnce(random: Random, input: number, tally: RespTally): void {
  if (input % 2 === 0) requestsOnce(random, tally)
  else repliesOnce(random, tally)
}

interface ReadRequests {
  readonly requests: readonly string[]
  readonly invalid: boolean
}

export function readRequests(parts: readonly Buffer[]): ReadRequests {
  const reader = new RequestReader({ keepWords: 1024, keepBytes: 1 << 20 })
  const requests: string[] = []
  for (const part of parts) {
    for (let at = 0; at < part.length; at = reader.offset) {
      const step = reader.step(part, at)
      if (step === 'invalid') return { requests, invalid: true }
      if (step === 'more') break
      requests.push(JSON.stringify([reader.words.map((word) => word.toString('latin1')), reader.argumentCount, reader.wireBytes, reader.announcedBytes, reader.largestBytes]))
    }
  }
  return { requests, invalid: false }
}

function requestsOnce(random: Random, tally: RespTally): void {
  const sent = Array.from({ length: 1 + random.below(3) }, () => randomRequest(random))
  const text = sent.map(({ bytes }) => bytes).join('')
  const sound = random.below(3) === 0
  const bytes = Buffer.from(sound ? text : damagedText(random, text), 'latin1')
  const whole = readRequests([bytes])
  same(readRequests(pieces(random, bytes)), whole, bytes)
  if (sound) {
    const wanted = sent.map(({ words, bytes: { length } }) => JSON.stringify([words, words.length, length, words.reduce((sum, word) => sum + word.length, 0), Math.max(0, ...words.map((word) => word.length))]))
    same(whole.requests, wanted, bytes)
  }
  count(tally, sound, whole.invalid, whole.requests.length)
}

export function readReplies(parts: readonly Buffer[]): { readonly replies: readonly Reply[]; readonly invalid: boolean } {
  const decoder = new ReplyDecoder({ encoding: 'latin1' })
  const replies: Reply[] = []
  for (const part of parts) {
    const read = decoder.push(part)
    replies.push(...read.replies)
    if (read.invalid) return { replies, invalid: true }
  }
  return { replies, invalid: false }
}

/** Ends of frames, with their types. */
export function scanReplies(parts: readonly Buffer[]): { readonly ends: readonly string[]; readonly invalid: boolean } {
  const scanner = new ReplyScanner()
  const ends: string[] = []
  let before = 0
  for (const part of parts) {
    for (let at = 0; at < part.length; at = scanner.offset) {
      const step = scanner.step(part, at)
      if (step === 'invalid') return { ends, invalid: true }
      if (step === 'more') break
      ends.push(`${before + scanner.offset}${String.fromCharCode(scanner.type)}`)
    }
    before += part.length
  }
  return { ends, invalid: false }
}

function repliesOnce(random: Random, tally: RespTally): void {
  const sent = Array.from({ length: 1 + random.below(3) }, () => randomReply(random))
  const text = sent.map(encodeReply).join('')
  const sound = random.below(3) === 0
  const bytes = Buffer.from(sound ? text : damagedText(random, text), 'latin1')
  const parts = pieces(random, bytes)
  const whole = readReplies([bytes])
  same(readReplies(parts), whole, bytes)
  const scanned = scanReplies([bytes])
  same(scanReplies(parts), scanned, bytes)
  if (sound) same(whole.replies.map(encodeReply).join(''), text, bytes)
  if (sound) same(scanned.ends.length, sent.length, bytes)
  // The decoder has more to object to; what it reads, the scanner has found.
  const read = scanReplies([bytes.subarray(0, Number.parseInt(scanned.ends[whole.replies.length - 1] ?? '0', 10))])
  same(readReplies([bytes.subarray(0, Number.parseInt(read.ends.at(-1) ?? '0', 10))]).replies.length, whole.replies.length, bytes)
  count(tally, sound, whole.invalid, whole.replies.length)
}

function count(tally: RespTally, sound: boolean, invalid: boolean, frames: number): void {
  if (sound) tally.whole++
  else if (invalid) tally.invalid++
  if (!sound && frames > 0) tally.past++
}

function same(found: unknown, wanted: unknown, bytes: Buffer): void {
  if (written(found) !== written(wanted)) throw new Error(`RESP ${JSON.stringify(bytes.toString('latin1'))}: ${written(found)} instead of ${written(wanted)}`)
}

function written(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value, (_key, each: unknown) => (typeof each === 'bigint' ? `${each}n` : each))
}
