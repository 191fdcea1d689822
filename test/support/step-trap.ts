/**
 * Ends something after the n-th step of this process: a step is each thing that it does outside of itself, that is files
 * written, moved and locked, processes started and signalled, and bytes sent. Patches Node's own modules, so nothing in the
 * program under test knows of it.
 */
import childProcess from 'node:child_process'
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { Socket } from 'node:net'

let left = 0
let spring: () => void = () => {}

/** Every object's method that stands for a step. */
const STEPS: readonly (readonly [object, readonly string[]])[] = [
  [fs, ['mkdirSync', 'openSync', 'writeFileSync', 'renameSync', 'rmSync', 'readlinkSync']],
  [childProcess, ['spawn']],
  [process, ['kill']],
  [Socket.prototype, ['connect', 'write', 'end', 'destroy']],
]

export function patchSteps(): void {
  for (const [owner, names] of STEPS) {
    for (const name of names) {
      const plain: unknown = Reflect.get(owner, name)
      if (typeof plain !== 'function') throw new Error(`no ${name} to patch`)
      Reflect.set(owner, name, function (this: unknown, ...words: unknown[]): unknown {
        const result: unknown = Reflect.apply(plain, this, words)
        if (left > 0 && --left === 0) spring()
        return result
      })
    }
  }
  syncBuiltinESMExports()
}

/** `steps` 0: not any more. */
export function armTrap(steps: number, act: () => void): void {
  left = steps
  spring = act
}
