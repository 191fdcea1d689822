/** Reads a topology file; the default one lies beside this file (in a build: beside its source's place in the package). */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { loadConfig } from '../../lib/config.ts'
import type { Topology } from './topology.ts'
import { planTopology, topologySchema } from './topology.ts'

const DEFAULT_FILE = 'default-topology.toml'

/** @throws NearcastError config.missing, config.invalid, topology.invalid */
export function readTopology(file: string | undefined): Topology {
  return planTopology(loadConfig(topologySchema, { file: file ?? defaultFile(), program: 'TOPOLOGY' }))
}

function defaultFile(): string {
  const beside = join(import.meta.dirname, DEFAULT_FILE)
  return existsSync(beside) ? beside : join(import.meta.dirname, '../../../cli/dev', DEFAULT_FILE)
}
