/**
 * A reader's view of look-up.wat: the functions, and where the memory of its own holds what they read.
 */
import { LOOK_UP_CODE } from './look-up-code.ts'
import { webAssembly } from './web-assembly.ts'
import type { Memory } from './web-assembly.ts'

export interface LookUp {
  /** This thread's alone. */
  readonly own: Memory
  /** Reads `words` words of the shared memory, each by itself, to OWN.copied. */
  readonly copy: (from: number, words: number) => void
  /** ABSENT, FOUND (the slot is in the own memory) or UNREST (what was being written is named there). */
  readonly find: (key0: number, key1: number, network: number, high: number, low: number) => number
}

export const ABSENT = 0
export const FOUND = 1
export const UNREST = 2
/** Words of the own memory; before them stands the slot that was found (SLOT). */
export const OWN = { position: 8, unrestAt: 9, unrestValue: 10, directory: 11, copied: 16 } as const

let code: object | null = null

export function lookUpIn(memory: Memory): LookUp {
  code ??= new webAssembly.Module(Uint8Array.from(Buffer.from(LOOK_UP_CODE, 'base64')))
  const { exports } = new webAssembly.Instance(code, { table: { memory } })
  return exports as LookUp
}
