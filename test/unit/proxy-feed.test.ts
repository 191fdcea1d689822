/** Putting the table in force: the order of the steps, what is cut, what fails and is tried again. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { NetworkId } from '../../lib/address.ts'
import { NearcastError } from '../../lib/errors.ts'
import type { Change } from '../../lib/feed/messages.ts'
import { FeedTable } from '../../lib/feed/table.ts'
import { createLogger } from '../../lib/log.ts'
import { Feed } from '../../proxy/feed.ts'
import { Routes } from '../../proxy/routes.ts'
import { TablesInForce } from '../../proxy/tables-in-force.ts'

const ADDRESS = 'fdaa:0:1:0:1::2'
const NETWORK = { table: 'networks', key: '1', row: { id: 1, org: 'o', name: 'default' } }
const serviceOn = (port: number): Change => ({ table: 'services', key: 's', row: { id: 's', org: 'o', name: 'n', kind: 'tcp', port, placements: [] } })
const addressOf = (generation: number): Change => ({ table: 'addresses', key: ADDRESS, row: { address: ADDRESS, network: 1, generation, service: 's' } })

class World {
  readonly table = new FeedTable()
  readonly routes = new Routes(0xfdaa)
  readonly steps: string[] = []
  readonly reviewed: [string, number | undefined][] = []
  readonly limits: [string | number, unknown][] = []
  refused = new Map<number, NearcastError>()
  hostFault: NearcastError | null = null
  listening: number[] = []
  readonly tables = new TablesInForce({
    routes: this.routes,
    nodes: { replace: () => this.steps.push('nodes'), put: (id, row) => this.steps.push(`node ${row === null ? '-' : '+'}${id}`) },
    nearest: { forget: (service) => void this.steps.push(`forget ${service}`), forgetUnless: (isKnown) => void this.steps.push(`forget all but ${['s', 'gone'].filter(isKnown).join()}`) },
    limits: {
      replace: () => undefined,
      putNetwork: (network, limits) => void this.limits.push([network, limits]),
      putAddress: ({ address }, limits) => void this.limits.push([address, limits]),
      removeAddress: (address) => void this.limits.push([address, undefined]),
    },
    revocations: {
      // What the tables say at the moment of the review.
      review: (touched) => {
        const route = this.routes.findText(ADDRESS)
        const keys = touched === 'all' ? ['all'] : [...(touched.address ?? []), ...(touched.service ?? []), ...(touched.node ?? [])]
        this.reviewed.push([keys.join(), route?.generation])
      },
    },
    log: createLogger('test', 'silent'),
  })
  readonly feed = new Feed({
    routes: this.routes,
    tables: this.tables,
    listeners: {
      open: (wanted) => {
        this.steps.push(`listen ${wanted.join()}`)
        this.listening = wanted.filter((port) => !this.refused.has(port))
        return Promise.resolve(new Map([...this.refused].filter(([port]) => wanted.includes(port))))
      },
      closeExcept: (wanted) => Promise.resolve(void this.steps.push(`close except ${wanted.join()}`)),
      ports: () => this.listening,
    },
    host: {
      replace: (networks) => this.#host(`local = ${[...networks].join()}`),
      change: (added: Iterable<NetworkId>, removed: Iterable<NetworkId>) => this.#host(`local + ${[...added].join()} - ${[...removed].join()}`),
      open: (ports) => this.#host(`guard ${ports.join()}`),
    },
    log: createLogger('test', 'silent'),
  })

  #host(step: string): Promise<void> {
    if (this.hostFault) return Promise.reject(this.hostFault)
    this.steps.push(step)
    return Promise.resolve()
  }

  apply(...changes: Change[]): ReturnType<Feed['apply']> {
    return this.feed.apply(this.table, this.table.apply(changes).applied)
  }

  taken(): string[] {
    return this.steps.splice(0)
  }
}

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('a snapshot: nodes and routes, then local prefixes, listeners, guard', async () => {
  const world = new World()
  expect(world.feed.faults).toEqual(['no table yet'])
  world.table.apply([NETWORK, serviceOn(6379), addressOf(1)])
  expect(await world.feed.apply(world.table, 'snapshot')).toEqual([])
  expect(world.taken()).toEqual(['nodes', 'forget all but s', 'local = 1', 'listen 6379', 'guard 6379', 'close except 6379'])
  expect(world.routes.size).toBe(1)
  expect(world.feed.faults).toEqual([])
})

test('changes: given to the host before they are acknowledged, taken away from it last', async () => {
  const world = new World()
  await world.apply(NETWORK, serviceOn(6379), addressOf(1))
  expect(world.taken()).toEqual(['local + 1 - ', 'listen 6379', 'guard 6379', 'close except 6379', 'local +  - '])
  await world.apply({ table: 'networks', key: '1', row: null }, { table: 'addresses', key: ADDRESS, row: null }, { table: 'services', key: 's', row: null })
  expect(world.taken()).toEqual(['forget s', 'local +  - ', 'listen ', 'guard ', 'close except ', 'local +  - 1'])
  expect(world.routes.size).toBe(0)
})

test('what a change touches is reviewed at once, after all of it is in the tables', async () => {
  const world = new World()
  await world.apply(NETWORK, serviceOn(6379), addressOf(1))
  expect(world.reviewed).toEqual([[`${ADDRESS},s`, 1]])
  const applied = world.apply(addressOf(2))
  expect(world.reviewed.at(-1)).toEqual([ADDRESS, 2])
  await applied
  await world.apply({ table: 'addresses', key: ADDRESS, row: null }, { table: 'services', key: 's', row: null })
  expect(world.reviewed.at(-1)).toEqual([`${ADDRESS},s`, undefined])
  await world.feed.apply(world.table, 'snapshot')
  expect(world.reviewed.at(-1)).toEqual(['all', undefined])
})

test('limits change with their rows, and go with them', async () => {
  const world = new World()
  const limits = { maxConnections: 3 }
  await world.apply({ ...NETWORK, row: { ...NETWORK.row, limits } }, serviceOn(1), { table: 'addresses', key: ADDRESS, row: { address: ADDRESS, network: 1, generation: 1, service: 's', limits } })
  await world.apply(addressOf(1), { table: 'networks', key: '1', row: null }, { table: 'addresses', key: ADDRESS, row: null })
  expect(world.limits).toEqual([[1, limits], [ADDRESS, limits], [ADDRESS, undefined], [1, undefined], [ADDRESS, undefined]])
})

test('a port that is taken fails its services by name, and is tried again until it is free', async () => {
  const world = new World()
  world.refused.set(6379, new NearcastError('listen.in-use', 'It is taken.'))
  const failed = await world.apply(NETWORK, serviceOn(6379), addressOf(1))
  expect(failed).toEqual([{ service: 's', code: 'listen.in-use', message: 'It is taken.' }])
  expect(world.feed.faults).toEqual(['listen.in-use: It is taken.'])
  world.refused.clear()
  await vi.advanceTimersByTimeAsync(5000)
  expect([world.feed.faults, world.listening]).toEqual([[], [6379]])
  world.taken()
  await vi.advanceTimersByTimeAsync(20_000)
  expect(world.taken()).toEqual([])
})

test('a fault of the host fails what was asked for, never the reader, and heals', async () => {
  const world = new World()
  world.hostFault = new NearcastError('host.denied', 'Not permitted.')
  expect(await world.apply(NETWORK, serviceOn(6379), addressOf(1))).toEqual([{ service: 's', code: 'host.denied', message: 'Not permitted.' }])
  expect(world.feed.faults).toEqual(['host.denied: Not permitted.'])
  world.hostFault = null
  await vi.advanceTimersByTimeAsync(5000)
  expect(world.feed.faults).toEqual([])
  expect(world.taken()).toEqual(['local = 1', 'listen 6379', 'guard 6379', 'close except 6379'])
  await world.feed.stop()
})

test('calls that overlap reach the host one after the other, and a stopped feed tries nothing again', async () => {
  const world = new World()
  const both = [world.apply(NETWORK, serviceOn(1), addressOf(1)), world.apply(serviceOn(2))]
  expect(world.routes.ports()).toEqual([2])
  await Promise.all(both)
  expect(world.taken().filter((step) => step.startsWith('listen'))).toEqual(['listen 2', 'listen 2'])
  world.hostFault = new NearcastError('host.failed', 'No.')
  await world.apply(serviceOn(3))
  await world.feed.stop()
  world.hostFault = null
  await vi.advanceTimersByTimeAsync(20_000)
  expect(world.taken()).toEqual([])
})
