/**
 * Gathers a report: the proxies' measurements from the API, and ways to databases by measure.ts, run on the app hosts and
 * data hosts of a development cluster exactly as `nearcast dev exec` runs things there. Ways are measured one by one, so
 * that none disturbs another.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { z } from 'zod'
import { distribution } from '../../lib/distribution.ts'
import type { ApiClient } from '../api-client.ts'
import type { RedisObject } from '../api-objects.ts'
import { listOf, orgObject, redisObject } from '../api-objects.ts'
import type { ClusterInfo } from '../dev/control-client.ts'
import { agentDataDirectory } from '../dev/programs.ts'
import { programFile } from '../dev/program-file.ts'
import type { MeasureTask, Samples } from './measure.ts'
import { MEASURE_VARIABLE } from './measure.ts'
import type { LatencyReport, Measured, Way } from './report.ts'
import { fleetLatencies } from './report.ts'

/** A way takes a few seconds; what takes this long hangs. */
const WAY_TIMEOUT_MS = 60_000
const MAX_OUTPUT_CHARACTERS = 1 << 20

export interface CollectOptions {
  readonly api: ApiClient
  /** null: no cluster on this machine, so no place to measure ways from. */
  readonly cluster: ClusterInfo | null
  /** Only databases of this organization. */
  readonly org?: string
  readonly samples: number
  readonly progress: (step: string) => void
  readonly signal: AbortSignal
}

interface Planned {
  readonly way: Pick<Way, 'org' | 'database' | 'kind' | 'region'>
  /** Words of `dev exec` that say where. */
  readonly at: readonly string[]
  readonly task: MeasureTask
}

export async function collect({ api, cluster, org, samples, progress, signal }: CollectOptions): Promise<LatencyReport> {
  progress("asking the proxies")
  const fleet = await api.get('/v1/latency', fleetLatencies)
  const ways: Way[] = []
  const planned = cluster === null ? [] : await plan(api, cluster, org, samples)
  for (const [index, each] of planned.entries()) {
    if (signal.aborted) break
    const { database, kind, region } = each.way
    progress(`${index + 1} of ${planned.length}: ${database} ${kind === 'direct' ? 'beside its engine in' : 'from'} ${region}`)
    ways.push({ ...each.way, ...measuredBy(await run(cluster?.cluster ?? '', each, signal)) })
  }
  return { ...fleet, ways }
}

async function plan(api: ApiClient, cluster: ClusterInfo, only: string | undefined, samples: number): Promise<Planned[]> {
  const orgs = (await api.get('/v1/orgs', listOf(orgObject))).filter(({ id, name }) => only === undefined || only === id || only === name)
  const planned: Planned[] = []
  for (const org of orgs) {
    const databases = await api.get(`/v1/orgs/${org.id}/redis`, listOf(redisObject))
    for (const database of databases) planned.push(...directWays(cluster, org.name, database, samples), ...throughWays(cluster, org.name, database, samples))
  }
  return planned
}

function throughWays(cluster: ClusterInfo, org: string, { name, address, port, username, password = '', tls }: RedisObject, samples: number): Planned[] {
  // The measuring program speaks plain RESP.
  if (tls === 'terminate' || tls === 'passthrough') return []
  return cluster.appHosts
    .filter((app) => app.org === org)
    .map(({ region, host }) => ({
      way: { org, database: name, kind: 'through' as const, region },
      at: ['--org', org, '--region', region, '--host', host],
      task: { place: { host: address, port }, username, password, samples },
    }))
}

function directWays(cluster: ClusterInfo, org: string, database: RedisObject, samples: number): Planned[] {
  const { id, name, region: primary, replicas, username, password = '' } = database
  return [primary, ...replicas].flatMap((region) => {
    const host = cluster.regions.find((each) => each.id === region)?.hosts[0]
    if (host === undefined) return []
    const path = join(agentDataDirectory({ id: host }), id, 'data', 'redis.sock')
    return [{ way: { org, database: name, kind: 'direct' as const, region }, at: ['--on', host], task: { place: { path }, username, password, samples } }]
  })
}

const samplesSchema = z.object({ connect: z.array(z.number()), firstByte: z.array(z.number()), get: z.array(z.number()), set: z.array(z.number()), errors: z.array(z.string()) })
const NOTHING: Samples = { connect: [], firstByte: [], get: [], set: [], errors: [] }

/** Never rejects: a way that can't be measured says why. */
function run(cluster: string, { at, task }: Planned, signal: AbortSignal): Promise<Samples> {
  const words = [process.argv[1] ?? '', '--cluster', cluster, 'dev', 'exec', ...at, '--', process.execPath, programFile('cli/latency/measure')]
  const env = { ...process.env, [MEASURE_VARIABLE]: JSON.stringify(task) }
  return new Promise((resolve) => {
    const child = spawn(process.execPath, words, { env, stdio: ['ignore', 'pipe', 'pipe'], signal, timeout: WAY_TIMEOUT_MS })
    let output = ''
    let complaint = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(0, MAX_OUTPUT_CHARACTERS)))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (complaint = (complaint + text).slice(-500)))
    child.on('error', (error) => resolve({ ...NOTHING, errors: [error.message] }))
    child.on('close', () => {
      const parsed = samplesSchema.safeParse(parseJson(output))
      resolve(parsed.success ? parsed.data : { ...NOTHING, errors: [complaint.trim() || 'it was not measured in time'] })
    })
  })
}

function measuredBy({ errors, ...samples }: Samples): Pick<Way, 'connect' | 'firstByte' | 'get' | 'set' | 'errors'> {
  const { connect, firstByte, get, set } = samples
  return { connect: measured(connect), firstByte: measured(firstByte), get: measured(get), set: measured(set), errors }
}

function measured(samples: readonly number[]): Measured | null {
  const found = distribution(samples)
  return found && { ...found, samples: samples.map((ms) => Math.round(ms * 1000) / 1000) }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
