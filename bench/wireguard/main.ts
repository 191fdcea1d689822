/**
 * `npm run bench -- wireguard [--rounds n] [--only stream,crowd,memory] [--quick] [--json] [--write]`: our WireGuard device
 * beside wireguard-go, in interleaved rounds: each begins with another device, and the first one isn't counted.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { machine } from '../machine.ts'
import { version } from '../peers/nearcast.ts'
import { described, markdown, number, padded } from '../report/table.ts'
import { crowd, memory, QUICK, SIZES, streams } from './measures.ts'
import type { Measured } from './measures.ts'
import { resultOf, ROWS } from './rows.ts'
import type { WireguardResult } from './rows.ts'
import { goVersion, ours, wireguardGo } from './subject.ts'
import type { Subject } from './subject.ts'
import { DIRECTORY, makeWorld } from './world.ts'

const README = new URL('../README.md', import.meta.url)
const BEGIN = '<!-- wireguard: written by npm run bench -- wireguard --write -->'
const END = '<!-- /wireguard -->'
const ROUNDS = 10
const QUICK_ROUNDS = 2
/** What hardly varies and takes long. */
const MEMORY_ROUNDS = 3

const GROUPS = ['stream', 'crowd', 'memory'] as const
export const USAGE = `usage: npm run bench -- wireguard [--rounds n] [--only ${GROUPS.join(',')}] [--quick] [--json] [--write]`

interface WireguardOptions {
  readonly rounds: number
  readonly only: readonly string[]
  readonly quick: boolean
  readonly json: boolean
  readonly write: boolean
}

/** @throws Error with the usage. */
export function wireguardOptions(words: readonly string[]): WireguardOptions {
  const kinds = { rounds: { type: 'string' }, only: { type: 'string' }, quick: { type: 'boolean' }, json: { type: 'boolean' }, write: { type: 'boolean' } } as const
  const { quick = false, json = false, write: isWritten = false, ...values } = parseArgs({ args: [...words], options: kinds }).values
  const only = values.only?.split(',') ?? [...GROUPS]
  const rounds = values.rounds === undefined ? (quick ? QUICK_ROUNDS : ROUNDS) : Number(values.rounds)
  if (only.some((name) => !GROUPS.some((group) => group === name)) || !Number.isInteger(rounds) || rounds < 1 || rounds > 1000) throw new Error(USAGE)
  // A table with half of its rows would look like the whole.
  if (isWritten && (quick || only.length < GROUPS.length)) throw new Error(USAGE)
  return { rounds, only, quick, json, write: isWritten }
}

/** Only inside the bench's namespaces. */
export async function run(options: WireguardOptions): Promise<void> {
  if (goVersion() === null) throw new Error('This compares with wireguard-go: install wireguard-go and wireguard-tools first.')
  makeWorld()
  const wasm = compiled()
  certificate()
  const sizes = options.quick ? QUICK : SIZES
  const { rounds } = options
  const subjects = {
    fast: ours('fast', 'fast path', 'fast', wasm),
    portable: ours('portable', 'portable path', 'portable', wasm),
    websocket: ours('websocket', 'through the WebSocket', 'websocket', wasm),
    gateway: ours('websocket-gateway', 'the other end of the WebSocket', 'websocket-gateway', wasm),
  }
  const about = machine({ nearcast: version(), 'wireguard-go': goVersion() ?? '' })
  const turns = new Map<string, Measured[]>()
  const groups: Record<(typeof GROUPS)[number], { readonly rounds: number; readonly subjects: readonly Subject[]; readonly measure: (subject: Subject) => Promise<Measured> }> = {
    stream: {
      rounds,
      subjects: [subjects.fast, wireguardGo, subjects.portable, subjects.websocket],
      measure: (subject) => streams(subject, sizes, subject === subjects.websocket ? subjects.gateway : wireguardGo),
    },
    crowd: { rounds, subjects: [subjects.fast, wireguardGo], measure: (subject) => crowd(subject, sizes, wasm) },
    memory: { rounds: Math.min(rounds, MEMORY_ROUNDS), subjects: [subjects.fast, wireguardGo], measure: (subject) => memory(subject, sizes, wasm) },
  }
  for (const name of GROUPS) {
    if (!options.only.includes(name)) continue
    const group = groups[name]
    // Memory needs no warming up: each turn is a new process.
    for (let round = name === 'memory' ? 1 : 0; round <= group.rounds; round++) {
      process.stderr.write(`${name}: ${round === 0 ? 'warming up' : `round ${round} of ${group.rounds}`}\n`)
      for (let turn = 0; turn < group.subjects.length; turn++) {
        const subject = group.subjects[(round + turn) % group.subjects.length]
        if (subject === undefined) continue
        const measured = await group.measure(subject)
        if (round > 0) turns.set(subject.id, [...(turns.get(subject.id) ?? []), measured])
      }
    }
  }
  const results = ROWS.map((row) => resultOf(row, turns, wireguardGo.id)).filter(({ ours: value }) => !Number.isNaN(value))
  const configurations = Object.fromEntries([...Object.values(subjects), wireguardGo].map(({ id, configuration }) => [id, configuration]))
  const table = cells(results)
  if (options.json) process.stdout.write(`${JSON.stringify({ results, turns: Object.fromEntries(turns), machine: about, configurations })}\n`)
  else {
    for (const [id, text] of Object.entries(configurations)) process.stdout.write(`--- ${id}\n${text}\n`)
    process.stdout.write(`\n${padded(table)}\n\n${described(about, rounds)}\n`)
  }
  if (options.write) write(`${markdown(table)}\n\n${described(about, rounds)}`)
}

function cells(results: readonly WireguardResult[]): string[][] {
  const body = results.map(({ name, unit, ours: value, theirs, ratio, isAbsolute, goal, verdict }) => {
    const interval = ratio === null ? '-' : ratio.interval.map(number).join(' - ')
    return [name, unit, number(value), number(theirs), isAbsolute ? '-' : number(ratio?.ratio), interval, goal, verdict ?? '-']
  })
  return [['scenario', 'unit', 'Nearcast', 'wireguard-go', 'ratio', '95 % interval', 'goal', 'verdict'], ...body]
}

function write(content: string): void {
  const text = readFileSync(README, 'utf8')
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)]
  if (begin < 0 || end < begin) throw new Error('README.md has lost its markers for WireGuard')
  writeFileSync(README, `${text.slice(0, begin + BEGIN.length)}\n\n${content}\n\n${text.slice(end)}`)
}

/** As the package has it. */
function compiled(): string {
  execFileSync(process.execPath, [new URL('../../scripts/wasm.mjs', import.meta.url).pathname, DIRECTORY], { stdio: 'inherit' })
  return join(DIRECTORY, 'lib/wireguard/chacha20-poly1305.wasm')
}

/** Of the WebSocket's gateway; who dials it trusts it by NODE_EXTRA_CA_CERTS. */
function certificate(): void {
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', join(DIRECTORY, 'websocket.key'), '-out', join(DIRECTORY, 'websocket.pem'), '-days', '2', '-subj', '/CN=10.99.0.2', '-addext', 'subjectAltName=IP:10.99.0.2'], { stdio: 'pipe' })
}
