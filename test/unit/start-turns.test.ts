/** Turns for starting engines. */
import { expect, test } from 'vitest'
import { StartTurns } from '../../agent/redis/engine/start-turns.ts'

test('so many at a time, in the order in which they came; giving back twice is once', async () => {
  const turns = new StartTurns(2)
  const order: number[] = []
  const taking = [1, 2, 3, 4].map(async (number) => {
    const done = await turns.take(() => 0)
    order.push(number)
    return done
  })
  const [first, second] = await Promise.all(taking.slice(0, 2))
  expect(order).toEqual([1, 2])
  first?.()
  first?.()
  const third = await taking[2]
  expect(order).toEqual([1, 2, 3])
  second?.()
  const fourth = await taking[3]
  expect(order).toEqual([1, 2, 3, 4])
  third?.()
  fourth?.()
  const again = await turns.take(() => 0)
  again()
})

test('who ranks highest when a turn is free is next, also when that changed while it waited', async () => {
  const turns = new StartTurns(1)
  const ranks: Record<string, number> = { small: 1, large: 9, asked: 1 }
  const order: string[] = []
  const first = await turns.take(() => 0)
  const taking = Object.keys(ranks).map(async (name) => {
    const done = await turns.take(() => ranks[name] ?? 0)
    order.push(name)
    done()
  })
  ranks['asked'] = 100
  first()
  await Promise.all(taking)
  expect(order).toEqual(['asked', 'large', 'small'])
})

test('who takes long gives the turn away', async () => {
  const turns = new StartTurns(1)
  await turns.take(() => 0)
  const startedMs = performance.now()
  const done = await turns.take(() => 0)
  expect(performance.now() - startedMs).toBeGreaterThan(400)
  done()
})
