/** Which engines are held back, when, and that nobody stays so. */
import { expect, test } from 'vitest'
import { HeldEngines } from '../../agent/redis/engine/held-engines.ts'

function node(may = true) {
  const state = { nowMs: 0, used: new Set<string>(), pids: new Map<string, number>(), usedMs: new Map<number, number>(), patient: new Set<number>(), refusals: 0 }
  const engines = new HeldEngines({
    used: () => state.used,
    pidOf: (service) => state.pids.get(service) ?? null,
    processorMs: (pid) => state.usedMs.get(pid) ?? null,
    setPatience: (pid, patient) => {
      if (!may || !state.usedMs.has(pid)) return false
      if (patient) state.patient.add(pid)
      else state.patient.delete(pid)
      return true
    },
    nowMs: () => state.nowMs,
    refused: () => state.refusals++,
  })
  const run = (service: string, pid: number): void => {
    state.used.add(service)
    state.pids.set(service, pid)
    state.usedMs.set(pid, 0)
  }
  /** `share` of a processor each, for so long. */
  const pass = (ms: number, share: Record<number, number>): void => {
    for (let at = 0; at < ms; at += 50) {
      state.nowMs += 50
      for (const [pid, each] of Object.entries(share)) state.usedMs.set(Number(pid), (state.usedMs.get(Number(pid)) ?? 0) + each * 50)
      engines.look()
    }
  }
  return { ...state, state, engines, run, pass }
}

test('one that is busy is held back within two looks, its calm neighbour never, and it is released when it has been calm for a second', () => {
  const { state, engines, run, pass } = node()
  run('busy', 10)
  run('calm', 11)
  pass(100, { 10: 1, 11: 0.2 })
  expect([...state.patient]).toEqual([10])
  expect([engines.isHeld('busy'), engines.isHeld('calm')]).toEqual([true, false])
  // Who asks again and again pauses between.
  for (let turn = 0; turn < 10; turn++) {
    pass(300, { 10: 1, 11: 0.2 })
    pass(600, { 10: 0.05, 11: 0.2 })
    expect([...state.patient]).toEqual([10])
  }
  pass(1100, { 10: 0.05, 11: 0.2 })
  expect([...state.patient]).toEqual([])
  expect(engines.heldMs('busy')).toBe(10 * 900 + 400)
  expect(engines.heldMs('calm')).toBe(0)
})

test('an engine whose clients have gone is watched until it is calm; a new run of it begins anew, and what came before is counted', () => {
  const { state, engines, run, pass } = node()
  run('busy', 10)
  pass(100, { 10: 1 })
  state.used.clear()
  pass(500, { 10: 1 })
  expect([...state.patient]).toEqual([10])
  state.usedMs.delete(10)
  run('busy', 12)
  pass(100, { 12: 0 })
  expect(engines.isHeld('busy')).toBe(false)
  expect(engines.heldMs('busy')).toBeGreaterThanOrEqual(500)
  engines.forget('busy')
  expect(engines.heldMs('busy')).toBe(0)
})

test('an agent that ends, and one that meets what a killed one has held, leave nobody held back', () => {
  const { state, engines, run, pass } = node()
  run('left', 10)
  state.patient.add(10)
  pass(50, { 10: 0 })
  expect([...state.patient]).toEqual([])
  pass(50, { 10: 1 })
  expect([...state.patient]).toEqual([10])
  engines.stop()
  expect([...state.patient]).toEqual([])
})

test('an agent that may not says so once', () => {
  const { state, engines, run, pass } = node(false)
  run('busy', 10)
  pass(200, { 10: 1 })
  expect([state.refusals, engines.isHeld('busy')]).toEqual([1, false])
})
