/**
 * How long an engine took for reads and for writes, as it says itself (LATENCY HISTOGRAM, INFO commandstats): since it started,
 * without the way to it. So also databases whose clients aren't read are measured, and nothing is asked before somebody wants
 * to know. What may wait for others (BLPOP) doesn't count. Pure.
 */
import type { EngineLatency } from '../../../lib/feed/questions.ts'
import type { CommandTable } from '../limits/command-table.ts'
import { commandTable } from '../limits/command-table.ts'
import type { Reply } from '../resp/reply-decoder.ts'

export const LATENCY_COMMANDS = [['LATENCY', 'HISTOGRAM'], ['INFO', 'commandstats']] as const

/** What tells which of those met are reads: of these alone, as the whole table is long. `replies`: those to LATENCY_COMMANDS. */
export function kindsCommand(replies: readonly Reply[] | null): readonly string[] {
  const [histograms] = replies ?? []
  const names = histograms?.kind === 'list' ? histograms.items.flatMap((item) => (item.kind === 'text' ? [item.text] : [])) : []
  // Without a name it would be the whole table.
  return ['COMMAND', 'INFO', ...(names.length === 0 ? ['ping'] : names)]
}

/** `replies`: those to LATENCY_COMMANDS, then to `kindsCommand`. undefined: this engine doesn't measure, or didn't answer. */
export function engineLatency(replies: readonly Reply[] | null): EngineLatency | undefined {
  const [histograms, info, commands] = replies ?? []
  if (histograms?.kind !== 'list' || info?.kind !== 'text' || commands?.kind !== 'list') return undefined
  const table = commandTable(commands)
  const spent = microsecondsOf(info.text)
  return { read: summary(histograms.items, spent, table, 'read'), write: summary(histograms.items, spent, table, 'write') }
}

function microsecondsOf(info: string): ReadonlyMap<string, number> {
  return new Map([...info.matchAll(/^cmdstat_([^:]+):calls=\d+,usec=(\d+)/gm)].map(([, name = '', microseconds]) => [name, Number(microseconds)]))
}

/** `histograms`: name, its histogram, the next name. */
function summary(histograms: readonly Reply[], spent: ReadonlyMap<string, number>, table: CommandTable, kind: 'read' | 'write'): EngineLatency['read'] {
  const counts = new Map<number, number>()
  let [count, microseconds] = [0, 0]
  for (let index = 0; index + 1 < histograms.length; index += 2) {
    const [name, histogram] = [histograms[index], histograms[index + 1]]
    if (name?.kind !== 'text' || histogram?.kind !== 'list' || table.get(name.text) !== kind) continue
    const [, calls, , buckets] = histogram.items
    if (calls?.kind !== 'number' || buckets?.kind !== 'list') continue
    count += calls.value
    microseconds += spent.get(name.text) ?? 0
    // Each says how many took so long or less.
    let before = 0
    for (let each = 0; each + 1 < buckets.items.length; each += 2) {
      const [bound, upTo] = [buckets.items[each], buckets.items[each + 1]]
      if (bound?.kind !== 'number' || upTo?.kind !== 'number') continue
      counts.set(bound.value, (counts.get(bound.value) ?? 0) + upTo.value - before)
      before = upTo.value
    }
  }
  if (count === 0) return null
  let left = Math.ceil(count * 0.99)
  const p99 = [...counts].toSorted(([a], [b]) => a - b).find(([, each]) => (left -= each) <= 0)
  return { count, meanMs: microseconds / count / 1000, p99Ms: (p99?.[0] ?? 0) / 1000 }
}
