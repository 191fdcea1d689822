/**
 * What the kernel lets one engine have: its own cgroup (v2), below the one that the agent was given. Memory and number of
 * processes are limits: the kernel ends the engine, not its neighbours. Processor and disk are shares, which count only while
 * there isn't enough for all.
 */
import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { processMemoryBytes } from './configuration.ts'
import type { EngineSpecification } from './specification.ts'

const MAX_PROCESSES = 64
const CONTROL = 'cgroup.subtree_control'
/** As far as they are there. */
const HANDED_DOWN = ['memory', 'pids', 'cpu', 'io']
/** The kernel's own, and what a database of so much memory gets. */
const MIDDLE_WEIGHT = 100
const MIDDLE_BYTES = 64 << 20
const [LEAST_WEIGHT, MOST_WEIGHT] = [25, 800]

export interface EngineCgroup {
  readonly directory: string
  /** Of cpu, io and others: handed down by `directory` to what is below. */
  readonly controllers: ReadonlySet<string>
}

/**
 * Makes it where it is missing, and lets it hand down what it has: whoever delegates a cgroup (systemd) leaves that to its
 * owner. @returns why it can't be used, in words, when it hands no memory limit down
 */
export function probeCgroup(directory: string): EngineCgroup | string {
  try {
    // Nothing of /sys outlives a boot.
    if (existsSync(join(dirname(directory), CONTROL)) && !existsSync(directory)) mkdirSync(directory)
    accessSync(directory, constants.W_OK)
    const has = wordsOf(join(directory, 'cgroup.controllers'))
    const given = wordsOf(join(directory, CONTROL))
    for (const name of HANDED_DOWN) if (has.has(name) && !given.has(name)) handDown(directory, name)
    const controllers = wordsOf(join(directory, CONTROL))
    if (controllers.has('memory')) return { directory, controllers }
    if (!has.has('memory')) return `${directory} itself is given no memory limit to hand down`
    // The kernel's rule: a cgroup has processes or hands down, never both.
    return `${directory} has processes of its own, and so can't hand anything down: name one that has none`
  } catch {
    return `${directory} is no writable cgroup v2`
  }
}

function wordsOf(file: string): Set<string> {
  return new Set(readFileSync(file, 'utf8').trim().split(/\s+/))
}

function handDown(directory: string, controller: string): void {
  try {
    writeFileSync(join(directory, CONTROL), `+${controller}`)
  } catch {
    // What is handed down is read again.
  }
}

/** By its plan: a database of four times the memory weighs twice as much. */
export function weightOf({ maxMemoryBytes }: Pick<EngineSpecification, 'maxMemoryBytes'>): number {
  const weight = Math.round(MIDDLE_WEIGHT * Math.sqrt(maxMemoryBytes / MIDDLE_BYTES))
  return Math.min(MOST_WEIGHT, Math.max(LEAST_WEIGHT, weight))
}

export interface EngineLimits {
  readonly memoryBytes: number
  readonly weight: number
}

export function limitsOf(specification: EngineSpecification): EngineLimits {
  return { memoryBytes: processMemoryBytes(specification), weight: weightOf(specification) }
}

/** @throws what the file system says */
export function limitEngine(cgroup: EngineCgroup, service: string, pid: number, limits: EngineLimits): void {
  const directory = join(cgroup.directory, service)
  mkdirSync(directory, { recursive: true })
  setLimits(directory, cgroup.controllers, limits)
  writeFileSync(join(directory, 'cgroup.procs'), String(pid))
}

/** While it runs. What it holds by now may be more than it is to hold: a lower limit of memory waits for its next start. @throws as above */
export function changeLimits({ directory: parent, controllers }: EngineCgroup, service: string, { memoryBytes, weight }: EngineLimits): void {
  const directory = join(parent, service)
  if (!existsSync(directory)) return
  const now = Number(readFileSync(join(directory, 'memory.max'), 'utf8'))
  setLimits(directory, controllers, { weight, memoryBytes: Math.max(memoryBytes, Number.isNaN(now) ? 0 : now) })
}

/** The kernel has ended a process of its engine for the memory that it took. Asked before `removeCgroup`. */
export function wasEndedForMemory({ directory }: EngineCgroup, service: string): boolean {
  try {
    return /^oom_kill [1-9]/m.test(readFileSync(join(directory, service, 'memory.events'), 'utf8'))
  } catch {
    return false
  }
}

/** Where its engine has ended and nobody of it is left. */
export function removeCgroup({ directory }: EngineCgroup, service: string): void {
  try {
    rmdirSync(join(directory, service))
  } catch {
    // A process of it is still ending; its next engine finds the directory.
  }
}

function setLimits(directory: string, controllers: ReadonlySet<string>, { memoryBytes, weight }: EngineLimits): void {
  const set = (file: string, value: string): void => writeFileSync(join(directory, file), value)
  set('memory.max', String(memoryBytes))
  if (controllers.has('pids')) set('pids.max', String(MAX_PROCESSES))
  if (controllers.has('cpu')) set('cpu.weight', String(weight))
  // By what the kernel was built with; there may be neither.
  const disk = controllers.has('io') ? ['io.weight', 'io.bfq.weight'].find((file) => existsSync(join(directory, file))) : undefined
  if (disk !== undefined) set(disk, `default ${weight}`)
}
