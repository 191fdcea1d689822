/** `nearcast latency`: who is how far from whom, now, again and again, and since when. */
import { writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { InvalidArgumentError } from 'commander'
import type { Command } from 'commander'
import { NearcastError } from '../../lib/errors.ts'
import type { ClusterInfo } from '../dev/control-client.ts'
import { clusterName } from './global-options.ts'
import type { Session, WithSession } from './session.ts'
import { whole } from './values.ts'

interface LatencyOptions {
  readonly org?: string
  readonly samples: number
  readonly fleet?: true
  readonly html?: string
  readonly history?: string
  readonly every?: number
  readonly count?: number
}

const UNIT_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000 }
const MAX_SAMPLES = 10_000

export function addLatencyCommand(program: Command, withSession: WithSession): void {
  program
    .command('latency')
    .description('from every proxy to every node, and through the whole path to databases of a cluster on this machine (operators)')
    .option('--org <org>', 'only databases of this organization')
    .option('--fleet', 'only proxies and nodes')
    .option('--samples <count>', 'per way and measure, fewer where they take long', samples, 60)
    .option('--html <file>', 'also write the report as a page')
    .option('--history <file>', 'append each report to this file of JSON lines; the page then shows the trend')
    .option('--every <time>', 'measure again and again: 30s, 10m, 1h', interval)
    .option('--count <n>', 'with --every: so many times (else until Ctrl-C)', whole)
    .addHelpText('after', '\nIt writes one key, nearcast:latency, into each database; that expires after a minute.')
    .action((options: LatencyOptions, command: Command) => withSession(command, (session) => latency(session, options, command)))
}

async function latency(session: Session, options: LatencyOptions, command: Command): Promise<void> {
  if (options.count !== undefined && options.every === undefined) throw new NearcastError('cli.usage', '--count needs --every <time>.', { side: 'client' })
  const times = options.every === undefined ? 1 : (options.count ?? Number.POSITIVE_INFINITY)
  const ended = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => ended.abort())
  for (let done = 0; done < times && !ended.signal.aborted; done++) {
    const startedMs = performance.now()
    await report(session, options, command, ended.signal)
    const restMs = (options.every ?? 0) - (performance.now() - startedMs)
    if (done + 1 < times && restMs > 0) await delay(restMs, undefined, { signal: ended.signal }).catch(() => undefined)
  }
}

async function report(session: Session, options: LatencyOptions, command: Command, signal: AbortSignal): Promise<void> {
  const [{ collect }, { appendHistory, readHistory }, { latencyLines }, { latencyPage }] = await Promise.all([
    import('../latency/collect.ts'),
    import('../latency/history.ts'),
    import('../latency/tables.ts'),
    import('../latency/page.ts'),
  ])
  const { api, output, url } = session
  const cluster = options.fleet ? null : await ownCluster(command, url)
  if (cluster === null && options.fleet !== true) output.hint('Ways to databases are measured inside a cluster on this machine; this API is of none.')
  const found = await collect({ api, cluster, samples: options.samples, progress: (step) => output.hint(step), signal, ...(options.org !== undefined && { org: options.org }) })
  if (signal.aborted) return
  const earlier = options.history === undefined ? [] : readHistory(options.history)
  if (options.history !== undefined) appendHistory(options.history, found)
  if (options.html !== undefined) writePage(options.html, latencyPage(found, [...earlier, found]))
  output.show(found, () => latencyLines(found))
}

/** The cluster on this machine that serves this API; null when there is none. */
async function ownCluster(command: Command, api: string): Promise<ClusterInfo | null> {
  const { askCluster, clusterInfo } = await import('../dev/control-client.ts')
  const info = await askCluster(clusterName(command), { operation: 'info' }, clusterInfo).catch(() => null)
  return info?.api === api ? info : null
}

function writePage(file: string, page: string): void {
  try {
    writeFileSync(file, page)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new NearcastError('cli.file', `${file} can't be written (${why}); name a file in a directory that you may write.`, { side: 'client', cause })
  }
}

function interval(text: string): number {
  const [, value, unit = ''] = /^(\d+)(s|m|h)$/.exec(text) ?? []
  const ms = Number(value) * (UNIT_MS[unit] ?? Number.NaN)
  if (!(ms >= 1000)) throw new InvalidArgumentError('Write a time like 30s, 10m or 1h.')
  return ms
}

function samples(text: string): number {
  const count = whole(text)
  if (count < 1 || count > MAX_SAMPLES) throw new InvalidArgumentError(`It is a number from 1 to ${MAX_SAMPLES}.`)
  return count
}
