/**
 * `npm run bench -- backbone [--rounds n] [--write]`: what it costs that what goes from host to host goes through the backbone.
 * The same load through a proxy and an agent on two hosts, with the backbone and without it, in turn: it is stopped and started
 * again as an operator would, and open connections of the programs move. The hop is TLS in both.
 */
import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { machine } from './machine.ts'
import { version } from './peers/nearcast.ts'
import { cpuTime } from './process-usage.ts'
import { described, markdown, number, padded } from './report/table.ts'
import { median, ratioOfMedians } from './statistics.ts'

const README = new URL('README.md', import.meta.url)
const BEGIN = '<!-- backbone: written by npm run bench -- backbone --write -->'
const END = '<!-- /backbone -->'
const ROOT = new URL('..', import.meta.url).pathname
/** What runs, beside what is compiled. */
const SOURCES = ['agent', 'bin', 'cli', 'lib', 'proxy', 'router', 'package.json']
const TOPOLOGY = new URL('backbone.toml', import.meta.url).pathname
const ROUNDS = 8
const HOSTS = ['mad-1', 'mad-2']
const REACHED_MS = 60_000
/** Of values in `bulk`: whole ones, and how many. */
const BULK = { bytes: 1 << 20, count: 300 }
const SMALL = { count: 20_000, clients: 20 }
const ALONE = { count: 2000 }

/** Of one turn. */
type Measured = Readonly<Record<(typeof ROWS)[number]['id'], number>>

const ROWS = [
  { id: 'bulk-rate', name: 'values of 1 MiB', unit: 'Mbit/s' },
  { id: 'bulk-cpu', name: '… processor time of proxy and agent', unit: 'ms CPU/GB' },
  { id: 'bulk-backbone', name: '… of the backbone on both hosts', unit: 'ms CPU/GB' },
  { id: 'small-rate', name: 'small requests, 20 connections', unit: '/s' },
  { id: 'small-cpu', name: '… processor time of proxy and agent', unit: 'us CPU/request' },
  { id: 'small-backbone', name: '… of the backbone on both hosts', unit: 'us CPU/request' },
  { id: 'alone', name: 'one small request after the other', unit: 'us' },
] as const

interface Facts {
  readonly databases: readonly { readonly address: string; readonly password: string }[]
}

const { values } = parseArgs({ args: process.argv.slice(3), options: { rounds: { type: 'string', default: String(ROUNDS) }, write: { type: 'boolean', default: false } } })
const rounds = Number(values.rounds)
if (!Number.isInteger(rounds) || rounds < 1 || rounds > 1000) throw new Error('usage: npm run bench -- backbone [--rounds n] [--write]')

const name = `bench${randomBytes(4).toString('hex')}`
const about = machine({ nearcast: version() })
const installed = compiled()
const entry = join(installed, 'bin/nearcast.mjs')
const cluster = spawn(process.execPath, [entry, 'dev', '--cluster', name, '--topology', TOPOLOGY, '--json'], { stdio: ['ignore', 'pipe', 'inherit'] })
process.on('exit', () => {
  cluster.kill('SIGTERM')
  rmSync(installed, { recursive: true, force: true })
})
const { databases } = JSON.parse(await firstLine(cluster)) as Facts
const [database] = databases
if (database === undefined) throw new Error('the cluster has no database')
try {
  const turns = { with: [] as Measured[], without: [] as Measured[] }
  for (let round = 0; round <= rounds; round++) {
    process.stderr.write(`${round === 0 ? 'warming up' : `round ${round} of ${rounds}`}\n`)
    for (const way of round % 2 === 0 ? (['with', 'without'] as const) : (['without', 'with'] as const)) {
      await steer(way)
      const measured = await measure(database)
      if (round > 0) turns[way].push(measured)
    }
  }
  const measuredIn = (way: keyof typeof turns, id: (typeof ROWS)[number]['id']): number[] => turns[way].map((turn) => turn[id])
  const table = [
    ['load', 'unit', 'with the backbone', 'without', 'ratio', '95 % interval'],
    ...ROWS.map(({ id, name: row, unit }) => {
      const [ours, others] = [measuredIn('with', id), measuredIn('without', id)]
      const ratio = id.endsWith('-backbone') ? null : ratioOfMedians(ours, [others])
      return [row, unit, number(median(ours)), number(median(others)), ratio === null ? '-' : number(ratio.ratio), ratio === null ? '-' : ratio.interval.map(number).join(' - ')]
    }),
  ]
  process.stdout.write(`${padded(table)}\n\n${described(about, rounds)}\n`)
  if (values.write) write(`${markdown(table)}\n\n${described(about, rounds)}`)
} finally {
  const ended = once(cluster, 'exit')
  cluster.kill('SIGTERM')
  await ended
}

/** The sources as they are, with the ciphers that the package has and a clone doesn't. */
function compiled(): string {
  const directory = mkdtempSync(join(tmpdir(), 'nearcast-bench-'))
  for (const each of SOURCES) cpSync(join(ROOT, each), join(directory, each), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(directory, 'node_modules'))
  execFileSync(process.execPath, [join(ROOT, 'scripts/wasm.mjs'), directory], { stdio: 'inherit' })
  return directory
}

/** Resolves when it is so: both hosts reach each other through it, or neither does. */
async function steer(way: 'with' | 'without'): Promise<void> {
  for (const host of HOSTS) await nearcast('dev', way === 'with' ? 'start' : 'stop', `${host}/backbone`)
  const wanted = way === 'with' ? 1 : 0
  const deadlineMs = performance.now() + REACHED_MS
  for (;;) {
    const listed = JSON.parse(await nearcast('fleet', 'backbone', 'list', '--json')) as readonly { readonly id: string; readonly reaches?: readonly string[] }[]
    if (listed.every(({ reaches = [] }) => reaches.length === wanted)) return
    if (performance.now() > deadlineMs) throw new Error(`the backbone didn't ${way === 'with' ? 'start' : 'stop'}: ${JSON.stringify(listed)}`)
    await delay(200)
  }
}

async function measure(target: Facts['databases'][number]): Promise<Measured> {
  const programs = pidsOf(['proxy/main', 'agent/main'])
  const backbones = pidsOf(['backbone/main'])
  await benchmark(target, ['-t', 'set', '-d', String(BULK.bytes), '-n', '1', '-c', '1'])
  const bulk = await counted(programs, backbones, () => benchmark(target, ['-t', 'get', '-n', String(BULK.count), '-c', '4']))
  await benchmark(target, ['-t', 'set', '-d', '16', '-n', '1', '-c', '1'])
  const small = await counted(programs, backbones, () => benchmark(target, ['-t', 'get', '-n', String(SMALL.count), '-c', String(SMALL.clients)]))
  const alone = await benchmark(target, ['-t', 'get', '-n', String(ALONE.count), '-c', '1'])
  const gigabytes = (BULK.count * BULK.bytes) / 1e9
  return {
    'bulk-rate': (bulk.perSecond * BULK.bytes * 8) / 1e6,
    'bulk-cpu': bulk.programsUs / 1000 / gigabytes,
    'bulk-backbone': bulk.backbonesUs / 1000 / gigabytes,
    'small-rate': small.perSecond,
    'small-cpu': small.programsUs / SMALL.count,
    'small-backbone': small.backbonesUs / SMALL.count,
    alone: 1e6 / alone,
  }
}

async function counted(programs: readonly number[], backbones: readonly number[], act: () => Promise<number>): Promise<{ readonly perSecond: number; readonly programsUs: number; readonly backbonesUs: number }> {
  const before = [programs, backbones].map((pids) => cpuTime(pids).totalUs)
  const perSecond = await act()
  const [programsUs = 0, backbonesUs = 0] = [programs, backbones].map((pids, index) => cpuTime(pids).totalUs - (before[index] ?? 0))
  return { perSecond, programsUs, backbonesUs }
}

/** @returns requests a second */
async function benchmark({ address, password }: Facts['databases'][number], words: readonly string[]): Promise<number> {
  const output = await nearcast('dev', 'exec', '--org', 'acme', '--region', 'mad', '--', 'redis-benchmark', '-h', address, '--user', 'default', '-a', password, '--csv', ...words)
  const perSecond = Number(/^"(?:GET|SET)","([\d.]+)"/m.exec(output)?.[1])
  if (Number.isNaN(perSecond)) throw new Error(`redis-benchmark says: ${output}`)
  return perSecond
}

async function nearcast(...words: readonly string[]): Promise<string> {
  const child = spawn(process.execPath, [entry, '--cluster', name, ...words], { stdio: ['ignore', 'pipe', 'inherit'] })
  const parts: string[] = []
  child.stdout.setEncoding('utf8').on('data', (part: string) => parts.push(part))
  const [code] = (await once(child, 'close')) as [number]
  if (code !== 0) throw new Error(`nearcast ${words.join(' ')} ended by code ${code}`)
  return parts.join('')
}

/** Of our cluster, by what they run. */
function pidsOf(programs: readonly string[]): number[] {
  const parents = new Map(readdirSync('/proc').filter((each) => /^\d+$/.test(each)).map((each) => [Number(each), parentOf(each)]))
  const isOurs = (pid: number): boolean => pid === cluster.pid || (parents.has(pid) && pid > 1 && isOurs(parents.get(pid) ?? 0))
  return [...parents.keys()].filter((pid) => isOurs(pid) && programs.some((program) => textOf(`/proc/${pid}/cmdline`).includes(program)))
}

function parentOf(pid: string): number {
  return Number(/^\S+ \(.*\) \S (\d+)/s.exec(textOf(`/proc/${pid}/stat`))?.[1])
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    // It ended meanwhile.
    return ''
  }
}

async function firstLine(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error('no standard output')
  for await (const line of createInterface({ input: child.stdout })) if (line.startsWith('{"cluster"')) return line
  throw new Error('the cluster did not start')
}

function write(content: string): void {
  const text = readFileSync(README, 'utf8')
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)]
  if (begin < 0 || end < begin) throw new Error('README.md has lost its markers for the backbone')
  writeFileSync(README, `${text.slice(0, begin + BEGIN.length)}\n\n${content}\n\n${text.slice(end)}`)
}
