/**
 * A program under test: something that listens on a Flycast address, tells who the client is in a PROXY header, and carries
 * the bytes to the same backend as all others. One thread each; only its own process is measured.
 */
import type { DataNode } from '../../test/support/data-node.ts'
import type { World } from '../world.ts'

export interface RunningPeer {
  readonly port: number
  /** Whose CPU time and memory count. */
  readonly pids: readonly number[]
  /** Where FAILOVER_ADDRESS leads to the failing nodes (failing-nodes.ts). */
  readonly failoverPort?: number
  /** Where two threads accept, at ADDRESS and at SECOND. */
  readonly twoThreadsPort?: number
  /** The password of the database behind it, if it has one. */
  readonly password?: string
  /** Agents in the bench's own process. */
  readonly nodes?: readonly DataNode[]
  /** Of an agent. */
  readonly metricsPort?: number
  /** Where an agent keeps its databases. */
  readonly dataDir?: string
  stop(): Promise<void>
}

export interface Peer {
  /** In --json and --only. */
  readonly id: string
  readonly label: string
  readonly version: () => string
  /** Why it can't take part here; null when it can. */
  readonly missing: () => string | null
  /** What it runs with, as it is printed. */
  readonly configuration: (world: World, port: number) => string
  readonly start: (world: World, port: number) => Promise<RunningPeer>
}
