/**
 * What the kernel lets one engine have: its own cgroup (v2), below the one that the agent was given. Memory and number of
 * processes are limits: the kernel ends the engine, not its neighbours. Processor and disk are shares, which count only while
 * there isn't enough for all.
 */
import { accessSync, constants, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { EngineSpecification } from './specification.ts'

const MAX_PROCESSES = 64
/** The kernel's own, and what a database of so much memory gets. */
const MIDDLE_WEIGHT = 100
const MIDDLE_BYTES = 64 << 20
const [LEAST_WEIGHT, MOST_WEIGHT] = [25, 800]

export interface EngineCgroup {
  readonly directory: string
  /** Of cpu, io and others: handed down by `directory` to what is below. */
  readonly controllers: ReadonlySet<string>
}

/** null: it isn't there, isn't ours, or hands no memory limit down. */
export function probeCgroup(directory: string): EngineCgroup | null {
  try {
    accessSync(directory, constants.W_OK)
    const controllers = new Set(readFileSync(join(directory, 'cgroup.subtree_control'), 'utf8').trim().split(/\s+/))
    return controllers.has('memory') ? { directory, controllers } : null
  } catch {
    return null
  }
}

/** By its plan: a database of four times the memory weighs twice as much. */
export function weightOf({ maxMemoryBytes }: Pick<EngineSpecification, 'maxMemoryBytes'>): number {
  const weight = Math.round(MIDDLE_WEIGHT * Math.sqrt(maxMemoryBytes / MIDDLE_BYTES))
  return Math.min(MOST_WEIGHT, Math.max(LEAST_WEIGHT, weight))
}

/** @throws what the file system says */
export function limitEngine({ directory: parent, controllers }: EngineCgroup, service: string, pid: number, { memoryBytes, weight }: { readonly memoryBytes: number; readonly weight: number }): void {
  const directory = join(parent, service)
  mkdirSync(directory, { recursive: true })
  const set = (file: string, value: string): void => writeFileSync(join(directory, file), value)
  set('memory.max', String(memoryBytes))
  if (controllers.has('pids')) set('pids.max', String(MAX_PROCESSES))
  if (controllers.has('cpu')) set('cpu.weight', String(weight))
  if (controllers.has('io')) set('io.weight', `default ${weight}`)
  set('cgroup.procs', String(pid))
}
