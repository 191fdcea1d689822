/** What INFO says about an engine's children, files and replicas, as far as forks go. Pure. */

export interface Persistence {
  /** It writes its file anew, or a copy, just now. */
  readonly forked: boolean
  /** A replica waits for a whole copy. */
  readonly copyWanted: boolean
  readonly memoryBytes: number
  /** Its append-only file has become so much longer than its contents need that it should be written anew. */
  readonly rewriteDue: boolean
  /** The last time that it was tried, that failed. */
  readonly rewriteFailed: boolean
}

/** As Redis does it by itself: twice what it was after the last time, and not below this. */
const LEAST_BYTES = 64 << 20
const GROWTH = 2

export function persistenceOf(info: string): Persistence {
  const value = (name: string): string => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? ''
  const number = (name: string): number => Number(value(name))
  return {
    forked: value('rdb_bgsave_in_progress') === '1' || value('aof_rewrite_in_progress') === '1' || value('aof_rewrite_scheduled') === '1',
    copyWanted: /^slave\d+:.*\bstate=wait_bgsave\b/m.test(info),
    memoryBytes: number('used_memory'),
    rewriteDue: number('aof_current_size') >= Math.max(LEAST_BYTES, GROWTH * number('aof_base_size')),
    rewriteFailed: value('aof_last_bgrewrite_status') === 'err',
  }
}
