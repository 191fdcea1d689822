/**
 * What an agent writes down about an engine that it starts, for the agent after it: `engine` in the database's directory,
 * which is the agent's alone. No secret: the engine's password for agents comes from the agent's own private key and what
 * stands here.
 */
import { hkdfSync } from 'node:crypto'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { z } from 'zod'
import type { EngineDirectory } from './directory.ts'

const PASSWORD_BYTES = 32

const engineNote = z.strictObject({
  pid: z.int().min(2),
  /** In ticks since the machine started: with the number it names one process. */
  startedTicks: z.string(),
  /** Of this run. */
  nonce: z.string(),
  /** Of what can't be changed in a running engine (configuration.ts). */
  configuration: z.string(),
})

export type EngineNote = z.infer<typeof engineNote>

/** Whole or not at all. @throws what the file system says */
export function writeNote({ noteFile }: EngineDirectory, note: EngineNote): void {
  writeFileSync(`${noteFile}.new`, JSON.stringify(note), { mode: 0o600 })
  renameSync(`${noteFile}.new`, noteFile)
}

/** null: there is none that can be read. */
export function readNote({ noteFile }: EngineDirectory): EngineNote | null {
  try {
    return engineNote.parse(JSON.parse(readFileSync(noteFile, 'utf8')))
  } catch {
    return null
  }
}

/** null: there is no such process. */
export function startedTicks(pid: number): string | null {
  try {
    // The name in brackets may hold anything: fields count from the last bracket.
    return readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\) /s, '').split(' ')[19] ?? null
  } catch {
    return null
  }
}

/** The engine's password for its agent, in hex. `key`: the agent's own private key. */
export function agentPassword(key: string, service: string, nonce: string): string {
  return Buffer.from(hkdfSync('sha256', key, nonce, `nearcast engine ${service}`, PASSWORD_BYTES)).toString('hex')
}
