/** Reads a topology file; the default one lies beside this file (`npm run build` copies it). */
import { join } from 'node:path'
import { loadConfig } from '../../lib/config.ts'
import type { Topology } from './topology.ts'
import { planTopology, topologySchema } from './topology.ts'

/** @throws NearcastError config.missing, config.invalid, topology.invalid */
export function readTopology(file: string | undefined): Topology {
  return planTopology(loadConfig(topologySchema, { file: file ?? join(import.meta.dirname, 'default-topology.toml'), program: 'TOPOLOGY' }))
}
