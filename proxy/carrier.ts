/**
 * Who carries the connections: this thread (local-carrier.ts), or data threads of their own (threads/data-threads.ts). What
 * main.ts and those who answer questions need of either.
 */
import type { ListenOptions, Plane, RateWaits } from '../lib/plane/plane.ts'
import type { ExplainReport } from './explain.ts'
import type { Routes } from './routes.ts'
import type { TakesRows } from './tables-in-force.ts'

export interface Carrier {
  /** Opens ports. */
  readonly plane: Pick<Plane, 'listen'>
  readonly accept: Pick<ListenOptions, 'brain' | 'answer' | 'maxConnections'>
  readonly tables: TakesRows
  /** What is in force, to look at. */
  readonly routes: Routes
  readonly open: number
  readonly waiting: number
  /** Half handshakes of TLS. */
  readonly handshakes: number
  /** Names with a byte rate; `address` null is a network's. */
  rates(): readonly { readonly network: number; readonly address: string | null; readonly waits: RateWaits }[]
  /** @throws NearcastError address.invalid, network.missing, thread.ended */
  explain(params: unknown, revision: number): Promise<ExplainReport> | ExplainReport
  /** A node became unwell, or well again. */
  nodeChanged(node: string): void
  /** Nobody new is admitted. */
  drain(): void
  /** Cuts what is open. Idempotent. */
  close(): Promise<void>
}
