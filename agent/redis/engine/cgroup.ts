/** What the kernel lets one engine have: its own cgroup (v2), below the one that the agent was given. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const MAX_PROCESSES = 64

/** Memory and number of processes; the kernel ends the engine, not its neighbours. */
export function limitEngine(cgroup: string, service: string, pid: number, memoryBytes: number): void {
  const directory = join(cgroup, service)
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, 'memory.max'), String(memoryBytes))
  writeFileSync(join(directory, 'pids.max'), String(MAX_PROCESSES))
  writeFileSync(join(directory, 'cgroup.procs'), String(pid))
}
