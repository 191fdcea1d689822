/**
 * The reading end of the feed: proxies and agents hold one.
 *
 * It starts from the last good table on disk, so a program serves without the router; then it stays connected, resumes
 * by revision and acknowledges what is in force. Whatever the router sends, the worst outcome is that the last good
 * table stays (fail static): a gap in the revisions ends the connection and the next one asks for a snapshot.
 *
 * Contract of `apply`: calls begin in the order of revisions, and a call may begin before an earlier one has resolved
 * (a slow database start doesn't hold up the next revision). `table` is the live table, already changed; its maps keep
 * changing with later revisions. Acknowledgements leave in order, each once its call and all earlier ones resolved.
 * With 'snapshot' everything may have changed: what isn't in `table` is gone.
 */
import type { Identity } from '../identity.ts'
import type { Logger } from '../log.ts'
import type { ToRouter } from './messages.ts'
import type { AppliedChange, FeedTable } from './table.ts'

export type { AppliedChange } from './table.ts'
export { FeedTable } from './table.ts'

export type FailedService = NonNullable<Extract<ToRouter, { type: 'ack' }>['failed']>[number]
export type ReaderState = 'cached' | 'connected' | 'disconnected'

export interface FeedReaderOptions {
  /** `https://[address]:port` of the router, as in the programs' `router` setting; wss:// works too. */
  readonly url: string
  readonly identity: Identity
  readonly cacheFile: string
  /** `proxy 0.1.0`, shown in the router's status. */
  readonly program: string
  readonly log: Logger
  readonly apply: (table: FeedTable, changes: readonly AppliedChange[] | 'snapshot', revision: number) => Promise<FailedService[]> | FailedService[]
  /** A question of the router: `explain`, `status`. A throw is answered as an error. */
  readonly ask: (name: string, params: unknown) => Promise<unknown>
}

export class FeedReader {
  constructor(options: FeedReaderOptions) {
    void options
  }

  get state(): ReaderState {
    return 'disconnected'
  }

  get revision(): number {
    return 0
  }

  /** Resolves once a table is in force: the cached one, else the first snapshot. Never rejects for the network's sake. */
  start(): Promise<void> {
    return Promise.resolve()
  }

  /** Agents: the whole map; sent at once when connected and again after each reconnect. */
  sendAvailability(unavailable: Record<string, string>): void {
    void unavailable
  }

  /** Idempotent. Writes the cache a last time. */
  stop(): Promise<void> {
    return Promise.resolve()
  }
}
