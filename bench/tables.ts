/**
 * `npm run bench -- tables [--write]`: what the proxy's routes in shared memory cost at 1,000,000 addresses: bytes, a look-up
 * of an address at random, and changes per second while another thread looks up all the time.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads'
import { asNetworkId, flycastAddress, ipv6FromBytes } from '../lib/address.ts'
import type { Ipv6 } from '../lib/address.ts'
import { Route, RouteTable } from '../proxy/tables/route-table.ts'
import type { RouteTableHandle } from '../proxy/tables/route-table.ts'
import { RouteTableWriter } from '../proxy/tables/route-table-writer.ts'

const README = new URL('README.md', import.meta.url)
const BEGIN = '<!-- tables: written by npm run bench -- tables --write -->'
const END = '<!-- /tables -->'
const SIZES = [1000, 100_000, 1_000_000]
const NETWORKS = 10_000
const NODES = 12
const ROUNDS = 7
const LOOK_UPS = 1_000_000
const CHANGES = 400_000

/** Addresses one behind the other, in the order in which they are asked: reading them costs next to nothing. */
class Addresses {
  readonly #bytes: Uint8Array
  /** A copy each time, of one object. */
  readonly #one = ipv6FromBytes(new Uint8Array(16))

  constructor(count: number) {
    this.#bytes = new Uint8Array(count * 16)
    const numbers = randomBytes(count * 6)
    for (let index = 0; index < count; index++) this.#bytes.set(flycastAddress(asNetworkId(1 + (index % NETWORKS)), 1 + Math.floor(numbers.readUIntBE(index * 6, 6) / 2)), index * 16)
  }

  at(index: number): Ipv6 {
    for (let byte = 0; byte < 16; byte++) this.#one[byte] = this.#bytes[index * 16 + byte] ?? 0
    return this.#one
  }
}

const idOf = (index: number): string => `srv${String(index).padStart(16, 'a')}`

function fill(count: number, addresses: Addresses): RouteTableWriter {
  const seed = randomBytes(8)
  const writer = new RouteTableWriter({ prefix: 0xfdaa, seed: [seed.readInt32LE(0), seed.readInt32LE(4)], expected: count })
  for (let index = 0; index < count; index++) {
    writer.putService(idOf(index), { port: 6379, kind: 'redis', nodes: [index % NODES, NODES + (index % 5)], names: [`org-${index % NETWORKS}`, `cache-${index}`] })
    writer.putAddress(addresses.at(index), { generation: 1, service: idOf(index) })
  }
  return writer
}

/** Of this thread: what others do meanwhile doesn't count. */
function cpuMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}

function median(values: readonly number[]): number {
  return values.toSorted((left, right) => left - right)[values.length >> 1] ?? 0
}

/** Nanoseconds each, the loop and the copy of the address taken off. */
function lookUp(handle: RouteTableHandle, count: number, addresses: Addresses, missing: boolean): number {
  const table = new RouteTable(handle)
  const route = new Route()
  const rounds = Array.from({ length: ROUNDS }, () => {
    let found = 0
    let bytes = 0
    const startMs = cpuMs()
    for (let turn = 0; turn < LOOK_UPS; turn++) bytes += addresses.at(turn % count)[15] ?? 0
    const betweenMs = cpuMs()
    for (let turn = 0; turn < LOOK_UPS; turn++) {
      const address = addresses.at(turn % count)
      if (missing) address[10] = (address[10] ?? 0) ^ 0x80
      if (table.find(address, route)) found++
    }
    const endMs = cpuMs()
    if (bytes === 0 || found !== (missing ? 0 : LOOK_UPS)) throw new Error(`${found} of ${LOOK_UPS} were found.`)
    return ((endMs - betweenMs - (betweenMs - startMs)) * 1e6) / LOOK_UPS
  })
  return median(rounds)
}

/** Addresses come, go and change, while a thread looks up. */
async function changes(writer: RouteTableWriter, count: number, addresses: Addresses): Promise<{ perSecond: number; meanwhile: number }> {
  const counter = new SharedArrayBuffer(8)
  const words = new Int32Array(counter)
  const worker = new Worker(new URL(import.meta.url), { workerData: { handle: writer.handle, counter } })
  while (Atomics.load(words, 1) === 0) await new Promise((resolve) => void setTimeout(resolve, 5))
  const before = Atomics.load(words, 1)
  const startMs = cpuMs()
  for (let turn = 0; turn < CHANGES; turn++) {
    const index = (turn * 7919) % count
    if (turn % 3 === 0) writer.putAddress(addresses.at(index), null)
    else writer.putAddress(addresses.at(index), { generation: 2 + turn, service: idOf(index) })
  }
  const seconds = (cpuMs() - startMs) / 1000
  const meanwhile = Atomics.load(words, 1) - before
  Atomics.store(words, 0, 1)
  await once(worker, 'exit')
  return { perSecond: CHANGES / seconds, meanwhile: meanwhile / seconds }
}

function lookUpAllTheTime({ handle, counter }: { handle: RouteTableHandle; counter: SharedArrayBuffer }): void {
  const words = new Int32Array(counter)
  const table = new RouteTable(handle)
  const route = new Route()
  const addresses = new Addresses(1000)
  while (Atomics.load(words, 0) === 0) {
    for (let index = 0; index < 1000; index++) table.find(addresses.at(index), route)
    Atomics.add(words, 1, 1000)
  }
}

async function measure(write: boolean): Promise<void> {
  const rows: string[] = []
  let last = ''
  for (const count of SIZES) {
    const addresses = new Addresses(count)
    const writer = fill(count, addresses)
    const { usedBytes, nameBytes, services } = writer.size
    const found = lookUp(writer.handle, count, addresses, false)
    const missed = lookUp(writer.handle, count, addresses, true)
    rows.push(`| ${count.toLocaleString('en')} | ${services.toLocaleString('en')} | ${(usedBytes / 1e6).toFixed(1)} MB | ${(nameBytes / 1e6).toFixed(1)} MB | ${found.toFixed(0)} ns | ${missed.toFixed(0)} ns |`)
    if (count !== SIZES.at(-1)) continue
    const { perSecond, meanwhile } = await changes(writer, count, addresses)
    last = `${Math.round(perSecond / 1000) * 1000} changes a second at ${count.toLocaleString('en')} addresses, while another thread made ${(meanwhile / 1e6).toFixed(1)} million look-ups a second.`
  }
  const table = ['| addresses | services | memory: policy and candidates | names, for log lines | look-up, found | look-up, absent |', '|---|---|---|---|---|---|', ...rows, '', last].join('\n')
  process.stdout.write(`${table}\n`)
  if (!write) return
  const text = readFileSync(README, 'utf8')
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)]
  if (begin < 0 || end < begin) throw new Error('README.md has lost its markers for tables')
  writeFileSync(README, `${text.slice(0, begin + BEGIN.length)}\n\n${table}\n\n${text.slice(end)}`)
}

if (isMainThread) await measure(process.argv.includes('--write'))
else if (parentPort) lookUpAllTheTime(workerData as Parameters<typeof lookUpAllTheTime>[0])
