/**
 * What the `nearcast dev` commands do. Loaded when one of them runs: most commands need nothing of it, and it is most of
 * the command line.
 */
import { spawn } from 'node:child_process'
import type { Command } from 'commander'
import { z } from 'zod'
import { NearcastError } from '../../lib/errors.ts'
import { askCluster, clusterInfo, clusterStatus } from '../dev/control-client.ts'
import type { ClusterInfo } from '../dev/control-client.ts'
import type { ControlRequest } from '../dev/control-protocol.ts'
import { enter, hostsFile } from '../dev/enter.ts'
import { colours } from '../colours.ts'
import { createOutput, table } from '../output.ts'
import type { Output } from '../output.ts'
import { clusterName } from './global-options.ts'
import type { GlobalOptions } from './global-options.ts'

export interface ExecOptions {
  readonly org?: string
  readonly region?: string
  readonly host?: string
  readonly on?: string
}

export interface LinkOptions {
  readonly rtt?: number
  readonly drop?: true
  readonly restore?: true
}

export interface CaptureOptions {
  readonly seconds: number
  readonly find?: string
}

export interface LogOptions {
  readonly follow?: true
  readonly lines: number
}

export async function down(_options: object, command: Command): Promise<void> {
  await ask(command, { operation: 'down' }, z.null())
  output(command).show({ ended: true }, () => 'The cluster ends.')
}

function output(command: Command): Output {
  return createOutput(command.optsWithGlobals<GlobalOptions>().json === true)
}

function ask<Schema extends z.ZodType>(command: Command, message: ControlRequest, schema: Schema): Promise<z.infer<Schema>> {
  return askCluster(clusterName(command), message, schema)
}

export async function exec(words: string[], options: ExecOptions, command: Command): Promise<void> {
  const info = await ask(command, { operation: 'info' }, clusterInfo)
  const place = options.on === undefined ? await appHost(info, options, command) : { namespace: hostOf(info, options.on), hosts: null }
  process.exitCode = await enter({ insidePid: info.insidePid, ca: info.edgeCa, ...place, command: words })
}

async function appHost(info: ClusterInfo, options: ExecOptions, command: Command): Promise<{ namespace: string; hosts: string }> {
  const found = info.appHosts.find(
    (app) =>
      (app.org === options.org || app.orgId === options.org) &&
      (options.region === undefined || app.region === options.region) &&
      (options.host === undefined || app.host === options.host),
  )
  if (options.org === undefined) throw new NearcastError('cli.usage', 'Say where: --org <org> --region <region> for an app host, or --on <host>.')
  if (found === undefined) {
    const known = info.appHosts.map((app) => `${app.org}/${app.region}`).join(', ')
    throw new NearcastError('dev.unknown-target', `${options.org} has no app host in ${options.region ?? options.host ?? 'any region'}; there are ${known}.`)
  }
  const names = await ask(command, { operation: 'names', org: found.org }, z.array(z.object({ name: z.string(), address: z.string() })))
  return { namespace: found.id, hosts: hostsFile(found, names) }
}

/** `mad-2`, `mad-2/proxy` and `mad/proxy` (the region's first host that runs one). */
function hostOf(info: ClusterInfo, on: string): string {
  const place = on.split('/')[0] ?? ''
  const host = info.regions.find(({ id, hosts }) => id === place || hosts.includes(place))
  if (host === undefined) throw new NearcastError('dev.unknown-target', `There is no host or region "${place}"; there are ${info.regions.flatMap(({ hosts }) => hosts).join(', ')}.`)
  return host.hosts.includes(place) ? place : (host.hosts[0] ?? '')
}

export async function obeyed(command: Command, message: ControlRequest, done: string): Promise<void> {
  const targets = await ask(command, message, z.array(z.string()))
  output(command).show({ [done]: targets }, () => (targets.length === 0 ? 'There was nothing to do.' : targets.map((target) => `${target}: ${done}`)))
}

export async function link(id: string, options: LinkOptions, command: Command): Promise<void> {
  const changes = [...(options.rtt === undefined ? [] : [{ rttMs: options.rtt }]), ...(options.drop ? ['drop' as const] : []), ...(options.restore ? ['restore' as const] : [])]
  const [change, ...more] = changes
  if (change === undefined || more.length > 0) throw new NearcastError('cli.usage', 'Give one of --rtt <time>, --drop and --restore.')
  const now = await ask(command, { operation: 'link', link: id, change }, clusterStatus.shape.links.element)
  output(command).show(now, () => `${now.id}: ${now.rttMs} ms${now.dropping ? ', loses every packet' : ''}`)
}

export async function capture(options: CaptureOptions, command: Command): Promise<void> {
  const { seconds, find = '' } = options
  if (!/^[A-Za-z0-9-]*$/.test(find)) throw new NearcastError('cli.usage', '--find takes letters, digits and hyphens.')
  const { captured } = await import('../dev/line-capture.ts')
  const ways = await ask(command, { operation: 'capture', seconds, text: find }, captured)
  const rows = ways.flatMap(({ from, to, kinds }) => Object.entries(kinds).map(([kind, { packets, bytes }]) => [`${from} to ${to}`, kind, packets, bytes]))
  const marked = ways.reduce((sum, way) => sum + way.marked, 0)
  const seen = marked === 0 ? `No packet held "${find}".` : colours.yellow(`${marked} packets held "${find}" in the clear.`)
  output(command).show(ways, () => [table(['way', 'kind', 'packets', 'bytes'], rows), ...(find === '' ? [] : ['', seen])])
}

export async function status(_options: object, command: Command): Promise<void> {
  const now = await ask(command, { operation: 'status' }, clusterStatus)
  output(command).show(now, () => [
    table(['program', 'state', 'restarts'], now.programs.map(({ id, state, restarts }) => [id, state === 'running' ? state : colours.yellow(state), restarts])),
    '',
    table(['link', 'round trip', ''], now.links.map(({ id, rttMs, dropping }) => [id, `${rttMs} ms`, dropping ? colours.yellow('cut') : ''])),
    ...[...now.faults.blackholes.map((id) => `${id} is a black hole`), ...now.faults.crashLoops.map((id) => `${id} is in a crash loop`)].map((line) => colours.yellow(line)),
  ])
}

async function programs(command: Command, target: string): Promise<{ ids: string[]; root: string }> {
  const [info, { programs: running }] = await Promise.all([ask(command, { operation: 'info' }, clusterInfo), ask(command, { operation: 'status' }, clusterStatus)])
  const [place = '', kind] = target.split('/')
  const hosts = info.regions.find(({ id }) => id === place)?.hosts ?? [place]
  const ids = running.map(({ id }) => id).filter((id) => id === target || hosts.some((host) => id === `${host}/${kind}`))
  if (ids.length === 0) throw new NearcastError('dev.unknown-target', `There is no program ${target}; there are ${running.map(({ id }) => id).join(', ')}.`)
  return { ids, root: `/proc/${info.insidePid}/root` }
}

export async function logs(target: string, options: LogOptions, command: Command): Promise<void> {
  const { ids, root } = await programs(command, target)
  const { logFile } = await import('../dev/programs.ts')
  const words = ['-n', String(options.lines), ...(options.follow ? ['-f'] : []), ...ids.map((id) => root + logFile(id))]
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', 'tail', ...words], { stdio: 'inherit' })
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve(code ?? 0))
  })
}

export async function metrics(target: string, _options: object, command: Command): Promise<void> {
  const { ids, root } = await programs(command, target)
  const [{ adminSocket }, { scrape }] = await Promise.all([import('../dev/programs.ts'), import('../dev/scrape.ts')])
  for (const id of ids) process.stdout.write(await scrape(root + adminSocket(id), id))
}
