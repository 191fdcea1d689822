/** What the control thread and its data threads say to each other, by name (channel.ts). */
import type { HopTls, RateWaits } from '../../lib/plane/plane.ts'
import type { LogLevel } from '../../lib/log.ts'
import type { ServiceRow } from '../../lib/feed/messages.ts'
import type { AppliedChange } from '../../lib/feed/reader.ts'
import type { ProxyConfig } from '../config.ts'
import type { DataPathConfig } from '../data-path.ts'
import type { ExplainReport } from '../explain.ts'
import type { Touched } from '../revocations.ts'
import type { RouteTableHandle } from '../tables/route-table.ts'
import type { Rows } from '../tables-in-force.ts'
import type { SharedTls } from '../tls/edge.ts'
import type { Channel } from './channel.ts'
import type { Tallies } from './tally.ts'

/** The control thread's end. */
export type ThreadChannel = Channel<ToThread, AskedOfThread, FromThread, AskedByThread>

/** What a data thread is born with. */
export interface ThreadStart {
  readonly index: number
  readonly config: DataPathConfig & Pick<ProxyConfig, 'tls'>
  readonly hopTls: HopTls
  readonly logLevel: LogLevel
  /** Int32 per thread: its open connections. */
  readonly open: SharedArrayBuffer
  /** BigInt64 per thread: the number of its next header. It outlives the thread, so that no number comes twice. */
  readonly headers: SharedArrayBuffer
  readonly sharedTls: SharedTls
  /** The routes: where the control thread writes them. */
  readonly routes: RouteTableHandle
  readonly nodes: readonly NodeState[]
}

/** All but the routes; of networks and addresses those that have more to them than the table of routes says. */
export interface TellRows {
  readonly rows: Rows
  readonly numbers: ReadonlyMap<number, string>
}

export interface TellChanges {
  readonly changes: readonly AppliedChange[]
  /** Nodes that have a number from now on. */
  readonly numbers: ReadonlyMap<number, string>
}

export interface Review {
  readonly touched: Touched | 'all'
  /** What became of services that were asked for. */
  readonly services: ReadonlyMap<string, ServiceRow | null>
}

/** A node as the control thread knows it: its probes, its session. */
export interface NodeState {
  readonly id: string
  readonly healthy: boolean
  readonly reason: string | null
  readonly latencyMs: number | null
  readonly connectMs: number | null
  readonly reachable: boolean
  readonly proofs: number
  /** null: none open; always so for foreign nodes. */
  readonly session: Uint8Array | null
  readonly unavailable: ReadonlyMap<string, string>
  readonly load: number
  /** Carried to it by other threads. */
  readonly elsewhere: number
  readonly salt: number
}

/** Since the last time. */
export interface Happened {
  /** Log lines, each with its line end. */
  readonly lines: readonly string[]
  readonly tallies: Tallies
  readonly use: ThreadUse
}

export interface ThreadUse {
  readonly rejected: number
  readonly waiting: number
  readonly handshakes: number
  /** node -> connections that this thread carries to it */
  readonly carried: ReadonlyMap<string, number>
  readonly rates: readonly { readonly network: number; readonly address: string | null; readonly waits: RateWaits }[]
}

export type ToThread = {
  readonly nodes: readonly NodeState[]
  readonly sharedTls: SharedTls
  /** Nobody new is admitted. */
  readonly drain: null
  /** A fault drill: it throws where nothing catches. */
  readonly fail: null
}

export type AskedOfThread = {
  /** What goes before a new table of routes. The answer: services of open connections. */
  readonly rows: { readonly question: TellRows; readonly answer: readonly string[] }
  /** What goes before a change of the routes. */
  readonly changes: { readonly question: TellChanges; readonly answer: void }
  /** The routes have changed: open connections are judged. Answered when that is done. */
  readonly review: { readonly question: Review; readonly answer: void }
  /** `accepted`: taken from the kernel's queue by a thread that ended, and nobody's yet. */
  readonly listen: { readonly question: { readonly port: number; readonly fd: number; readonly accepted: readonly number[] }; readonly answer: void }
  /** Its descriptor is closed. */
  readonly unlisten: { readonly question: number; readonly answer: void }
  readonly explain: { readonly question: { readonly params: unknown; readonly revision: number }; readonly answer: ExplainReport }
  readonly stop: { readonly question: null; readonly answer: void }
}

export type FromThread = {
  readonly happened: Happened
  /** Passive health: what a dial found. `failure` null: it answered. */
  readonly dialled: { readonly node: string; readonly failure: string | null }
  /** The node doesn't know this session any more. */
  readonly reopen: { readonly node: string; readonly refused: Uint8Array }
  /** A defect. Its connections have been reset, its listening sockets are open. Its last word. */
  readonly failed: { readonly error: string; readonly accepted: readonly { readonly port: number; readonly fds: readonly number[] }[] }
}

export type AskedByThread = {
  readonly ready: { readonly question: null; readonly answer: void }
  readonly session: { readonly question: { readonly node: string; readonly timeoutMs: number }; readonly answer: Uint8Array | null }
}

