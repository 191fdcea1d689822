/** Which engines may rest. */
import { expect, test } from 'vitest'
import type { EngineUse } from '../../agent/redis/engine/idle-engines.ts'
import { idleEngines } from '../../agent/redis/engine/idle-engines.ts'

const engine = (service: string, unusedMs: number, changes: Partial<EngineUse> = {}): EngineUse => ({ service, running: true, alone: true, park: null, connections: 0, unusedMs, ...changes })
const MINUTE = 60_000

test('those that nobody has used for long enough', () => {
  const engines = [engine('fresh', 4 * MINUTE), engine('old', 6 * MINUTE), engine('used', 9 * MINUTE, { connections: 1 }), engine('followed', 9 * MINUTE, { alone: false }), engine('down', 9 * MINUTE, { running: false })]
  expect(idleEngines(engines, { idleStopMinutes: 5, maxRunning: 0 })).toEqual(['old'])
  expect(idleEngines(engines, { idleStopMinutes: 0, maxRunning: 0 })).toEqual([])
})

test('beyond so many running ones the longest unused, and never one in use or just asked for', () => {
  const engines = [engine('a', 3000), engine('b', 5000), engine('c', 4000), engine('used', 9000, { connections: 2 }), engine('now', 10), engine('down', 9000, { running: false })]
  expect(idleEngines(engines, { idleStopMinutes: 0, maxRunning: 3 })).toEqual(['b', 'c'])
  expect(idleEngines(engines, { idleStopMinutes: 0, maxRunning: 5 })).toEqual([])
  expect(idleEngines(engines, { idleStopMinutes: 0, maxRunning: 1 })).toEqual(['b', 'c', 'a'])
})

test("a database's own policy comes before the agent's", () => {
  const engines = [engine('soon', 2 * MINUTE, { park: 1 }), engine('later', 6 * MINUTE, { park: 10 }), engine('never', 999 * MINUTE, { park: 'never' }), engine('plain', 6 * MINUTE)]
  expect(idleEngines(engines, { idleStopMinutes: 5, maxRunning: 0 })).toEqual(['plain', 'soon'])
  expect(idleEngines(engines, { idleStopMinutes: 0, maxRunning: 0 })).toEqual(['soon'])
  expect(idleEngines(engines, { idleStopMinutes: 0, maxRunning: 1 })).toEqual(['later', 'plain', 'soon'])
})
