/** What is measured of one device in one turn: a stream each way, the round trip, a crowd of clients, memory. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { memoryKb } from '../process-usage.ts'
import { Program } from '../program.ts'
import { median } from '../statistics.ts'
import type { CrowdResult, CrowdSettings } from './crowd.ts'
import { makeKeys } from './keys.ts'
import type { Keys } from './keys.ts'
import type { StreamResult } from './stream.ts'
import { wireguardGo } from './subject.ts'
import type { PeerOf, RunningSubject, Subject } from './subject.ts'
import { CROWD_PREFIX, DIRECTORY, LEFT, MTU, PORT, RIGHT, crowdAddress, on, run } from './world.ts'
import type { Side } from './world.ts'

export type Measured = Readonly<Record<string, number>>

export interface Sizes {
  readonly streamMs: number
  readonly pings: number
  readonly handshakes: number
  readonly crowd: number
  readonly crowdMs: number
  readonly idlePeers: number
  readonly sessions: number
}

export const SIZES: Sizes = { streamMs: 2000, pings: 300, handshakes: 1000, crowd: 1000, crowdMs: 2000, idlePeers: 10_000, sessions: 3000 }
export const QUICK: Sizes = { streamMs: 700, pings: 50, handshakes: 200, crowd: 200, crowdMs: 500, idlePeers: 2000, sessions: 500 }
/** Before the sessions that are measured, so that code is compiled and buffers are there. */
const FIRST_SESSIONS = 500
const STREAM_PORT = 7000
const PATIENCE_MS = 60_000
const [leftKeys, rightKeys] = [makeKeys(), makeKeys()]

/** `other`: at the other end of the tunnel. */
export async function streams(subject: Subject, sizes: Sizes, other: Subject = wireguardGo): Promise<Measured> {
  const right = await other.start(RIGHT, rightKeys, [{ publicKey: leftKeys.publicKey, allowedIps: `${LEFT.inside}/128` }])
  try {
    const left = await subject.start(LEFT, leftKeys, [{ publicKey: rightKeys.publicKey, allowedIps: `${RIGHT.inside}/128`, host: RIGHT.host }])
    try {
      run(LEFT, 'sh', '-c', `for try in $(seq 20); do ping -6 -c 1 -W 1 ${RIGHT.inside} > /dev/null && exit 0; done; exit 1`)
      const sent = await stream(left, LEFT, RIGHT, sizes)
      const received = await stream(left, RIGHT, LEFT, sizes)
      return {
        'send-rate': sent.mbitPerSecond,
        'send-cpu': sent.cpuUsPerMbit,
        'receive-rate': received.mbitPerSecond,
        'receive-cpu': received.cpuUsPerMbit,
        'round-trip': roundTripUs(RIGHT.inside, sizes) - roundTripUs(RIGHT.host, sizes),
      }
    } finally {
      await left.stop()
    }
  } finally {
    await right.stop()
  }
}

async function stream(measured: RunningSubject, from: Side, to: Side, { streamMs }: Sizes): Promise<StreamResult> {
  const source = await node(from, 'stream.ts', 'source', from.inside, String(STREAM_PORT)).says('listening')
  try {
    return JSON.parse(await node(to, 'stream.ts', 'sink', from.inside, String(STREAM_PORT), String(streamMs), String(measured.pid)).ended(PATIENCE_MS)) as StreamResult
  } finally {
    await source.stop()
  }
}

/** Of the middle one. */
function roundTripUs(to: string, { pings }: Sizes): number {
  const output = run(LEFT, 'ping', '-n', '-c', String(pings), '-i', '0.003', to)
  return 1000 * median(Array.from(output.matchAll(/time=([\d.]+) ms/g), ([, time]) => Number(time)))
}

/** Handshakes first, then small packets through all sessions. */
export async function crowd(subject: Subject, sizes: Sizes, wasm: string): Promise<Measured> {
  const clients = crowdKeys(Math.max(sizes.crowd, sizes.handshakes))
  const device = await subject.start(LEFT, leftKeys, clients.map(peerOf), [CROWD_PREFIX])
  try {
    const { handshakesPerCpuSecond, cpuUsPerPing } = JSON.parse(await visit(device, clients, 0, sizes.crowdMs, wasm).ended(PATIENCE_MS)) as CrowdResult
    return { handshakes: handshakesPerCpuSecond, 'many-peers': cpuUsPerPing }
  } finally {
    await device.stop()
  }
}

export async function memory(subject: Subject, sizes: Sizes, wasm: string): Promise<Measured> {
  const clients = crowdKeys(FIRST_SESSIONS + sizes.sessions)
  const silent = Array.from({ length: sizes.idlePeers }, (_, index) => ({ ...makeKeys(), index: clients.length + index }))
  const without = await held(await subject.start(LEFT, leftKeys, [], [CROWD_PREFIX]))
  const withPeers = await held(await subject.start(LEFT, leftKeys, silent.map(peerOf), [CROWD_PREFIX]))
  const idleKb = (withPeers - without) / silent.length
  const device = await subject.start(LEFT, leftKeys, clients.map(peerOf), [CROWD_PREFIX])
  const visitors: Program[] = []
  try {
    const sizesKb: number[] = []
    for (const [from, to] of [[0, FIRST_SESSIONS], [FIRST_SESSIONS, clients.length]] as const) {
      visitors.push(await visit(device, clients.slice(from, to), from, 0, wasm, true).says('handshakes'))
      await device.collect()
      sizesKb.push(memoryKb([device.pid]))
    }
    return { 'memory-idle': idleKb, 'memory-session': idleKb + ((sizesKb[1] ?? 0) - (sizesKb[0] ?? 0)) / sizes.sessions }
  } finally {
    for (const visitor of visitors) await visitor.stop()
    await device.stop()
  }
}

async function held(device: RunningSubject): Promise<number> {
  await device.collect()
  const kb = memoryKb([device.pid])
  await device.stop()
  return kb
}

type Client = Keys & { readonly index: number }

function crowdKeys(count: number): Client[] {
  return Array.from({ length: count }, (_, index) => ({ ...makeKeys(), index }))
}

function peerOf({ publicKey, index }: Client): PeerOf {
  return { publicKey, allowedIps: `${crowdAddress(index)}/128` }
}

function visit(device: RunningSubject, clients: readonly Client[], name: number, pingMs: number, wasm: string, stay = false): Program {
  const settings: CrowdSettings = {
    device: { publicKey: leftKeys.publicKey, host: LEFT.host, port: PORT, inside: LEFT.inside, pid: device.pid },
    clients: clients.map(({ privateKey, index }) => ({ privateKey, address: crowdAddress(index) })),
    pingMs,
    stay,
    wasm,
    mtu: MTU,
  }
  const file = join(DIRECTORY, `crowd-${name}.json`)
  writeFileSync(file, JSON.stringify(settings))
  return node(RIGHT, 'crowd.ts', file)
}

function node(side: Side, script: string, ...words: readonly string[]): Program {
  return new Program(...on(side, process.execPath, new URL(script, import.meta.url).pathname, ...words))
}
