/** The hop's own HMAC against node:crypto's. */
import { createHmac } from 'node:crypto'
import { expect, test } from 'vitest'
import { hmacSha256 } from '../../lib/hop/mac.ts'
import { sha256Functions } from '../../lib/kernel/sha256.ts'
import { Random, testSeed } from '../support/random.ts'

test('as node:crypto does, for keys and messages of every length that occurs, in any order', () => {
  const random = new Random(testSeed('hop mac'))
  const bytes = (length: number): Buffer => Buffer.from(Array.from({ length }, () => random.below(256)))
  const keys = [0, 1, 31, 32, 63, 64, 65, 200].map(bytes)
  for (let round = 0; round < 2000; round++) {
    const key = keys[random.below(keys.length)] ?? bytes(32)
    const message = bytes(random.below(700))
    expect(Buffer.from(hmacSha256(key, message)).toString('hex')).toBe(createHmac('sha256', key).update(message).digest('hex'))
  }
})

test('the pinned Node has the functions', () => {
  expect(sha256Functions() === null && process.platform === 'linux').toBe(false)
})
