/** The routes of data threads, out of shared memory: in all that is asked of them they say what the routes of one thread say. */
import { expect, test } from 'vitest'
import { asNetworkId, flycastAddress, formatIpv6, machineAddress, parseIpv6 } from '../../lib/address.ts'
import type { AddressRow, ServiceRow } from '../../lib/feed/messages.ts'
import type { AppliedChange } from '../../lib/feed/reader.ts'
import type { Rows } from '../../proxy/tables-in-force.ts'
import { Routes } from '../../proxy/routes.ts'
import { PublishedRoutes } from '../../proxy/tables/published-routes.ts'
import { SharedRoutes } from '../../proxy/tables/shared-routes.ts'
import { Random, testSeed } from '../support/random.ts'

const PREFIX = 0xfdaa
const ADDRESSES = 40
const SERVICES = 12

class World {
  readonly rows = { networks: new Map(), services: new Map<string, ServiceRow>(), addresses: new Map<string, AddressRow>(), nodes: new Map() } satisfies Rows
  readonly routes = new Routes(PREFIX)
  readonly published = new PublishedRoutes(PREFIX)
  readonly open = new Set<string>()
  readonly shared = new SharedRoutes({ handle: this.published.handle, prefix: PREFIX, isOpen: (service) => this.open.has(service) })

  change(...changes: AppliedChange[]): void {
    const services = changes.filter(({ table }) => table === 'services').map(({ row }) => row as ServiceRow | null)
    this.shared.name(this.published.number(services))
    for (const change of changes) this.#change(change)
    this.published.change(changes)
  }

  #change({ table, key, row }: AppliedChange): void {
    const rows = this.rows[table as 'services' | 'addresses'] as Map<string, unknown>
    if (row === null) rows.delete(key)
    else rows.set(key, row)
    for (const routes of [this.routes, this.shared]) {
      if (table === 'services') routes.putService(key, row as ServiceRow | null)
      else routes.putAddress(key, row as AddressRow | null)
    }
  }

  replace(): void {
    this.routes.replace(this.rows)
    this.shared.name(this.published.number(this.rows.services.values()))
    this.shared.replace({ addresses: new Map([...this.rows.addresses].filter(([, { tls }]) => tls !== undefined)) })
    this.published.replace(this.rows)
  }
}

const addressOf = (key: number): string => formatIpv6(flycastAddress(asNetworkId(1 + (key % 3)), 1 + key))

function aService(random: Random): ServiceRow {
  const some = <Item>(...items: Item[]): Item => items[random.below(items.length)] as Item
  const live = some(undefined, 'keep', 'cut', 'drain:30')
  const placements = Array.from({ length: random.below(4) }, (_, at) => ({ node: `node-${random.below(9)}-${at}`, role: some<'primary' | 'replica' | 'peer'>('primary', 'replica', 'peer') }))
  return { id: `s${random.below(SERVICES)}`, org: some('acme', 'globex'), name: some('cache', 'Größe'), kind: some<ServiceRow['kind']>('redis', 'tcp', 'postgres'), port: 6379 + random.below(2), placements, ...(live !== undefined && { live }), ...(random.below(3) === 0 && { shadow: true as const }) }
}

function anAddress(random: Random): AddressRow {
  const key = random.below(ADDRESSES)
  const policies: AddressRow['tls'][] = [undefined, { policy: 'auto' }, { policy: 'terminate', alpn: ['redis'] }, { policy: 'terminate', clientCa: 'PEM' }]
  const tls = policies[random.below(4)]
  return { address: addressOf(key), network: 1 + (key % 3), generation: 1 + random.below(1000), service: `s${random.below(SERVICES)}`, ...(tls !== undefined && { tls }) }
}

test('whatever comes, changes and goes: routes, decisions, placements and policies are the same', () => {
  const random = new Random(testSeed('shared-routes'))
  const world = new World()
  for (let step = 0; step < 4000; step++) {
    const service = aService(random)
    const address = anAddress(random)
    const gone = random.below(3) === 0
    if (random.below(50) === 0) world.replace()
    else if (random.below(2) === 0) world.change({ table: 'services', key: service.id, row: gone ? null : service })
    else world.change({ table: 'addresses', key: address.address, row: gone ? null : address }, { table: 'services', key: service.id, row: service })
    for (let look = 0; look < 4; look++) {
      const destination = parseIpv6(addressOf(random.below(ADDRESSES)))
      const source = machineAddress(asNetworkId(1 + random.below(3)), 2, 0)
      const port = 6379 + random.below(2)
      const route = world.routes.find(destination)
      expect(world.shared.find(destination)).toEqual(route)
      expect(world.shared.findText(formatIpv6(destination))).toEqual(route)
      expect(world.shared.decide(source, destination, port)).toEqual(world.routes.decide(source, destination, port))
      if (route === null) continue
      expect(world.shared.placements(route.service)).toEqual(world.routes.placements(route.service))
      expect(world.shared.service(route.service)?.live).toBe(world.routes.service(route.service)?.live)
    }
  }
  expect(world.shared.findText('nonsense')).toBe(null)
})

const carried = (index: number): ServiceRow => ({ id: `db${index}`, org: 'acme', name: 'cache', kind: 'redis', port: 6379, placements: [{ node: 'mad-1', role: 'primary' }], live: 'drain:5' })

test('a service that is carried stays known when its address has gone; one that nobody uses is forgotten', () => {
  const world = new World()
  const count = 5000
  const row = (index: number): AddressRow => ({ address: addressOf(index), network: 1 + (index % 3), generation: 1, service: `db${index}` })
  world.open.add('db0')
  for (let index = 0; index < count; index++) {
    world.change({ table: 'services', key: `db${index}`, row: carried(index) }, { table: 'addresses', key: addressOf(index), row: row(index) })
    expect(world.shared.findText(addressOf(index))?.service).toBe(`db${index}`)
  }
  world.change({ table: 'addresses', key: addressOf(0), row: null })
  expect(world.shared.findText(addressOf(0))).toBe(null)
  expect([world.shared.service('db0')?.live, world.shared.service('db1')]).toEqual(['drain:5', null])
  // The control thread tells what became of it.
  world.shared.putService('db0', { ...carried(0), live: 'cut' })
  expect(world.shared.service('db0')?.live).toBe('cut')
  world.shared.putService('db0', null)
  expect([world.shared.service('db0'), world.shared.placements('db0')]).toEqual([null, []])
})
