/** The routes in shared memory: as a naive map says, also while they change under readers of other threads. */
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { asNetworkId, flycastAddress, machineAddress, parseIpv6 } from '../../lib/address.ts'
import type { Ipv6 } from '../../lib/address.ts'
import { keyedHash } from '../../proxy/tables/keyed-hash.ts'
import { CONTROL } from '../../proxy/tables/layout.ts'
import { ABSENT, FOUND, lookUpIn, UNREST } from '../../proxy/tables/look-up.ts'
import { LOOK_UP_CODE } from '../../proxy/tables/look-up-code.ts'
import { liveCode, liveText } from '../../proxy/tables/live-code.ts'
import { Route, RouteTable, Target } from '../../proxy/tables/route-table.ts'
import { RouteTableWriter } from '../../proxy/tables/route-table-writer.ts'
import type { AddressEntry, ServiceEntry } from '../../proxy/tables/route-table-writer.ts'
import { Random, testSeed } from '../support/random.ts'
import type { TableReaderReport, TableReaderStart } from '../support/table-reader.ts'
import { lookUpCode } from '../../scripts/look-up.ts'

const PREFIX = 0xfdaa
/** How often each reader looks up everything at least. */
const HAMMER_PASSES = Number(process.env['NEARCAST_HAMMER_PASSES'] ?? 100)
const redis: ServiceEntry = { port: 6379, kind: 'redis', nodes: [1], names: ['org', 'name'] }

/** Numbers that differ in high bits only, in low bits only, and in few of them. */
function addressOf(key: number): Ipv6 {
  return flycastAddress(asNetworkId(1 + (key % 3)), 1 + (key >> 1) + (key % 2) * 0x1_0000_0000)
}

/** Neighbours, so that a reader can tell. */
function nodesOf(group: number): number[] {
  return Array.from({ length: 1 + (group % 5) }, (_, at) => group * 10 + at)
}

function tableOf(expected = 16, reserveBytes = 1 << 22) {
  const writer = new RouteTableWriter({ prefix: PREFIX, seed: [7, 11], expected, reserveBytes })
  const table = new RouteTable(writer.handle)
  const route = new Route()
  const target = new Target()
  const serviceOf = (): string | null => (table.follow(route, target) ? Buffer.from(target.service.subarray(0, target.serviceBytes)).toString() : null)
  return { writer, table, route, target, serviceOf }
}

test('the hash is HalfSipHash-1-3', () => {
  // The reference vector of 12 bytes 00 01 02 … with the key 00 01 … 07.
  expect(keyedHash(0x0302_0100, 0x0706_0504, 0x0302_0100, 0x0706_0504, 0x0b0a_0908) >>> 0).toBe(0x6b28_096c)
})

test('the compiled look-up is that of the source', () => {
  expect(lookUpCode().match(/'([A-Za-z0-9+/=]+)'/g)?.map((line: string) => line.slice(1, -1)).join('')).toBe(LOOK_UP_CODE)
})

test('a route has everything that was written', () => {
  const { writer, table, route, target, serviceOf } = tableOf()
  const address = parseIpv6('fdaa:1:2:0:1:8001:f00d:3')
  writer.putService('srvabc', { port: 65_535, kind: 'postgres', shadow: true, live: liveCode('drain:99999'), nodes: [3, 1, 2], names: ['acme', 'Größe "1"'] })
  expect(writer.putAddress(address, { generation: 0xffff_ffff, service: 'srvabc', tls: 'auto', particularTls: true })).toBe(true)
  expect(table.find(address, route)).toBe(true)
  const { position: _p, version: _v, directory: _d, service, names, ...rest } = route
  expect(rest).toEqual({ network: 0x1_0002, generation: 0xffff_ffff, port: 65_535, kind: 'postgres', tls: 'auto', particularTls: true, shadow: true, live: 100_001 })
  expect(Math.min(service, names)).toBeGreaterThan(0)
  expect(table.names(route)).toBe(JSON.stringify(['acme', 'Größe "1"']))
  expect(serviceOf()).toBe('srvabc')
  expect([...target.nodes.subarray(0, target.count)]).toEqual([3, 1, 2])
})

test('nothing but Flycast addresses of the plan is found or taken', () => {
  const { writer, table, route } = tableOf()
  writer.putService('s', redis)
  const foreign = ['fdab:0:1:0:1::5', 'fdaa:0:1::5', 'fdaa:0:1:0:1::', 'fdaa::1:0:0:5', 'fdaa:0:1:1:1::5', '::'].map(parseIpv6)
  foreign.push(machineAddress(asNetworkId(1), 2, 3))
  for (const address of foreign) expect([writer.putAddress(address, { generation: 1, service: 's' }), table.find(address, route)]).toEqual([false, false])
})

test('an address is unknown until its service is known, and again afterwards; a change of the service reaches all its addresses', () => {
  const { writer, table, route, serviceOf } = tableOf()
  const addresses = [1, 2, 3].map((number) => flycastAddress(asNetworkId(4), number))
  for (const address of addresses) writer.putAddress(address, { generation: 1, service: 'late', tls: 'terminate' })
  const seen = (): (number | null)[] => addresses.map((address) => (table.find(address, route) && route.tls === 'terminate' ? route.port : null))
  expect(seen()).toEqual([null, null, null])
  writer.putService('late', redis)
  expect(seen()).toEqual([6379, 6379, 6379])
  writer.putService('late', { ...redis, port: 7000 })
  expect(seen()).toEqual([7000, 7000, 7000])
  expect(serviceOf()).toBe('late')
  writer.putService('late', null)
  expect(seen()).toEqual([null, null, null])
  expect(serviceOf()).toBe(null)
  for (const address of addresses) writer.putAddress(address, null)
  expect(writer.size).toMatchObject({ addresses: 0, services: 0, candidateSets: 0 })
})

test('services that are held alike share what is said of it', () => {
  const { writer, table, route, target } = tableOf()
  const addresses = [1, 2, 3].map((number) => flycastAddress(asNetworkId(4), number))
  const placed = [[1, 2, 3], [3, 1, 2], [1, 2, 3]]
  addresses.forEach((address, index) => {
    writer.putService(`s${index}`, { ...redis, nodes: placed[index] ?? [] })
    writer.putAddress(address, { generation: 1, service: `s${index}` })
  })
  expect(addresses.map((each) => (table.find(each, route) && table.follow(route, target) ? [...target.nodes.subarray(0, target.count)] : null))).toEqual(placed)
  expect(writer.size.candidateSets).toBe(2)
})

test('policies for live connections as numbers, and back', () => {
  const policies = [undefined, 'keep', 'cut', 'drain:1', 'drain:99999']
  expect(policies.map(liveCode)).toEqual([0, 1, 2, 3, 100_001])
  expect(policies.map((policy) => liveText(liveCode(policy)))).toEqual(policies)
  expect(['', 'drain:0', 'drain:100000', 'nonsense'].map(liveCode)).toEqual([0, 0, 0, 0])
})

test('ids that cannot stand in the table, too many nodes and too small a memory are refused, and nothing else is lost', () => {
  const { writer, table, route } = tableOf(16, 1 << 18)
  const address = flycastAddress(asNetworkId(1), 1)
  for (const id of ['', 'ä', 'x'.repeat(65)]) expect([writer.putService(id, redis), writer.putAddress(address, { generation: 1, service: id })]).toEqual([false, false])
  expect(writer.putService('many', { ...redis, nodes: Array.from({ length: 65 }, (_, index) => index) })).toBe(false)
  expect(writer.putService('talkative', { ...redis, names: ['x'.repeat(2050)] })).toBe(false)
  expect(writer.putService('x'.repeat(64), { ...redis, nodes: Array.from({ length: 64 }, (_, index) => index) })).toBe(true)
  expect(writer.putAddress(address, { generation: 1, service: 'x'.repeat(64) })).toBe(true)
  const fill = (): void => {
    for (let number = 2; number < 10_000; number++) writer.putAddress(flycastAddress(asNetworkId(1), number), { generation: 1, service: 'x'.repeat(64) })
  }
  expect(fill).toThrow(expect.objectContaining({ code: 'table.full' }))
  expect(() => writer.replace({ services: [], addresses: [] })).not.toThrow(expect.objectContaining({ code: 'address.invalid' }))
  expect(table.find(address, route)).toBe(writer.size.addresses > 0)
})

test('it says what a map says, for any order of changes, growth and whole replacements', () => {
  const seed = testSeed('route-table')
  const random = new Random(seed)
  const below = (limit: number): number => random.below(limit)
  const { writer, table, route, serviceOf } = tableOf(4, 1 << 23)
  const services = new Map<string, ServiceEntry>()
  const addresses = new Map<number, AddressEntry>()
  const aService = (): [string, ServiceEntry] => [`s${below(40)}`.padEnd(1 + below(2) * 30, 'x'), { port: 1 + below(65_535), kind: 'tcp', shadow: below(2) === 1, live: below(100_002), nodes: [below(3), 3 + below(3)], names: ['org', 'n'.repeat(below(30))] }]
  const anAddress = (): [number, AddressEntry] => [below(3000), { generation: 1 + below(1e9), service: aService()[0], tls: below(2) === 1 ? 'passthrough' : null }]
  const check = (key: number): void => {
    const entry = addresses.get(key)
    const service = entry && services.get(entry.service)
    const found = table.find(addressOf(key), route)
    const got = found ? { generation: route.generation, port: route.port, shadow: route.shadow, live: route.live, tls: route.tls, names: table.names(route), service: serviceOf() } : null
    const { generation, tls } = entry ?? {}
    const { port, shadow, live, names } = service ?? {}
    expect(got, `seed ${seed}, address ${key}`).toEqual(entry && service ? { generation, port, shadow, live, tls, names: JSON.stringify(names), service: entry.service } : null)
  }
  for (let step = 0; step < 20_000; step++) {
    const what = below(100)
    const [key, address] = anAddress()
    const [id, service] = aService()
    // Waves, so that it fills, grows and empties.
    const filling = step % 10_000 < 6000
    if (what < 70) {
      if (filling === (below(10) < 8)) addresses.set(key, address)
      else addresses.delete(key)
      writer.putAddress(addressOf(key), addresses.get(key) ?? null)
    } else if (what < 90) {
      if (below(3) > 0) services.set(id, service)
      else services.delete(id)
      writer.putService(id, services.get(id) ?? null)
    } else if (below(200) === 0) {
      for (const each of addresses.keys()) if (below(2) === 1) addresses.delete(each)
      for (const each of services.keys()) if (below(4) === 1) services.delete(each)
      expect(writer.replace({ services, addresses: [...addresses].map(([each, entry]) => [addressOf(each), entry] as const) })).toEqual([])
    }
    check(key)
    check(below(3000))
  }
  for (let key = 0; key < 3000; key++) check(key)
  expect(writer.size).toMatchObject({ addresses: addresses.size })
  const named = new Set([...addresses.values()].map(({ service }) => service))
  expect(writer.size.services).toBe(new Set([...named, ...services.keys()]).size)
})

test('who misses something while slots change places, or the region does, looks again; who finds it need not', () => {
  const { writer } = tableOf()
  const words = new Int32Array(writer.handle.memory.buffer)
  const lookUp = lookUpIn(writer.handle.memory)
  writer.putService('s', redis)
  for (const number of [5, 6]) writer.putAddress(flycastAddress(asNetworkId(1), number), { generation: 1, service: 's' })
  const find = (number: number): number => lookUp.find(7, 11, 1, 0, number)
  expect([find(5), find(9)]).toEqual([FOUND, ABSENT])
  const before = words[CONTROL.moves] ?? 0
  words[CONTROL.moves] = before + 1
  expect([find(5), find(9)]).toEqual([FOUND, UNREST])
  words[CONTROL.moves] = before
  writer.putAddress(flycastAddress(asNetworkId(1), 6), null)
  expect(words[CONTROL.moves]).toBe(before + 2)
  words[CONTROL.directory] = (words[CONTROL.directory] ?? 0) + 1
  expect([find(5), find(9)]).toEqual([UNREST, UNREST])
})

test('readers in other threads never see what is half written, miss what is there, or go back in time', { timeout: 20_000 + HAMMER_PASSES * 100 }, async () => {
  // It grows, and ends rather full: then many slots move when one is given up.
  const [always, addresses, network] = [1000, 1990, 77]
  const writer = new RouteTableWriter({ prefix: PREFIX, seed: [3, 5], expected: 23, reserveBytes: 1 << 24 })
  const random = new Random(testSeed('route-table'))
  const below = (limit: number): number => random.below(limit)
  const keys = Array.from({ length: addresses }, (_, index) => flycastAddress(asNetworkId(network), (index + 1) * 0x1_0003_0007))
  let generation = 0
  const entry = (index: number): AddressEntry => {
    generation++
    return { generation, service: `srv${index % 64}`, particularTls: generation % 2 === 1, tls: generation % 3 === 0 ? 'terminate' : 'auto' }
  }
  // Two lengths of names, so that one's place becomes another's.
  const serviceOf = (index: number): ServiceEntry => ({ ...redis, port: 1 + below(60_000), nodes: nodesOf(below(7)), names: [`srv${index}`, 'x'.repeat(below(2) * 20)] })
  const fill = (): void => {
    writer.replace({ services: Array.from({ length: 64 }, (_, index) => [`srv${index}`, serviceOf(index)] as const), addresses: keys.slice(0, always).map((key, index) => [key, entry(index)] as const) })
  }
  fill()
  const shared = new SharedArrayBuffer(12)
  const signals = new Int32Array(shared)
  const workers = [1, 2].map((signal) => {
    const workerData: TableReaderStart = { handle: writer.handle, network, always, addresses, shared, signal }
    return new Worker(new URL('../support/table-reader.ts', import.meta.url), { workerData })
  })
  const reports = workers.map(async (worker) => (await once(worker, 'message'))[0] as TableReaderReport)
  const passes = (): number => Math.min(Atomics.load(signals, 1), Atomics.load(signals, 2))
  let changes = 0
  while (passes() < HAMMER_PASSES) {
    // A reader that has complained has ended, and sends its report.
    if (changes % 50_000 === 0 && (await Promise.race([Promise.race(reports), delay(1)])) !== undefined) break
    for (let turn = 0; turn < 500; turn++, changes++) {
      const index = below(addresses)
      const key = keys[index]
      if (key === undefined) continue
      if (index >= always && below(2) === 1) writer.putAddress(key, null)
      else writer.putAddress(key, entry(index))
    }
    const service = below(64)
    writer.putService(`srv${service}`, serviceOf(service))
    if (below(50) === 0) fill()
  }
  Atomics.store(signals, 0, 1)
  const done = await Promise.all(reports)
  for (const { complaints, lookUps, followed } of done) {
    expect(complaints).toEqual([])
    expect(lookUps).toBeGreaterThan(addresses)
    expect(followed).toBeGreaterThan(0)
  }
  expect(changes).toBeGreaterThan(1000)
  await Promise.all(workers.map((worker) => worker.terminate()))
})
