/** What sessions are told, and when. */
import { expect, test } from 'vitest'
import { Sessions } from '../../agent/sessions.ts'
import { agentFrames } from '../../lib/hop/frames.ts'
import type { FromAgent } from '../../lib/hop/protocol.ts'
import { HopSessions } from '../../lib/hop/sessions.ts'

function frames(bytes: Uint8Array | null): readonly FromAgent[] {
  return bytes === null ? [] : agentFrames().push(bytes).frames
}

const sessions = (): Sessions => new Sessions(new HopSessions(), () => 0)

test('first the challenge, then the states', () => {
  const all = sessions()
  all.publishAvailability({ db: 'redis.crashed' })
  all.publishLoad(3)
  expect(frames(all.open(1, 'proxy/a', '0A'))).toMatchObject([
    { type: 'challenge' },
    { type: 'availability', unavailable: { db: 'redis.crashed' } },
    { type: 'load', connections: 3 },
  ])
})

test('a change is told once to everyone, and a slow reader gets the last state only', async () => {
  const all = sessions()
  all.open(1, 'proxy/a', '0A')
  all.open(2, 'proxy/b', '0A')
  const first = all.next(1)
  all.publishLoad(0)
  all.publishAvailability({ db: 'x' })
  expect(frames(await first)).toEqual([{ type: 'availability', unavailable: { db: 'x' } }])
  all.publishAvailability({})
  all.publishLoad(1)
  all.publishLoad(2)
  expect(frames(await all.next(2))).toEqual([
    { type: 'availability', unavailable: {} },
    { type: 'load', connections: 2 },
  ])
})

test('closed and revoked sessions stop waiting', async () => {
  const all = sessions()
  all.open(1, 'proxy/a', '0A')
  all.open(2, 'proxy/b', '0A')
  const [first, second] = [all.next(1), all.next(2)]
  all.retain((dialer, certificate) => dialer !== 'proxy/a' && certificate === '0A')
  expect(await first).toBeNull()
  all.closed(2)
  expect(await second).toBeNull()
  expect(await all.next(2)).toBeNull()
  expect(all.size).toBe(1)
})

test('a long map goes in parts', () => {
  const all = sessions()
  const map = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`service-${index}`, 'redis.loading']))
  all.publishAvailability(map)
  const parts = frames(all.open(1, 'proxy/a', '0A')).filter((frame) => frame.type === 'availability')
  expect(parts.length).toBeGreaterThan(1)
  expect(Object.assign({}, ...parts.map(({ unavailable }) => unavailable))).toEqual(map)
})
