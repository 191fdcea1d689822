/** On what a bench ran: numbers without it mean nothing. */
import { cpus, loadavg, release, totalmem } from 'node:os'
import { firstLine } from './program.ts'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGb: number
  readonly kernel: string
  readonly node: string
  /** When the bench began: above the number of cores others were working, too. */
  readonly loadAverage: number
  readonly versions: Readonly<Record<string, string>>
}

export function machine(versions: Readonly<Record<string, string>>): Machine {
  const all = cpus()
  return {
    cpu: all[0]?.model ?? 'unknown',
    cores: all.length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    loadAverage: loadavg()[0] ?? 0,
    versions: { ...versions, redis: /v=([\d.]+)/.exec(firstLine('redis-server', '--version') ?? '')?.[1] ?? 'unknown' },
  }
}
