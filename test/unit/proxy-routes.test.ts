/** The table of the data path, held against maps that are searched naively, on random changes. */
import { expect, test } from 'vitest'
import { asNetworkId, flycastAddress, formatIpv6, machineAddress, networkOf, parseIpv6 } from '../../lib/address.ts'
import type { Ipv6 } from '../../lib/address.ts'
import type { AddressRow, NetworkRow, ServiceRow } from '../../lib/feed/messages.ts'
import { Routes } from '../../proxy/routes.ts'
import type { Decision } from '../../proxy/decision.ts'
import { Random, testSeed } from '../support/random.ts'

const PREFIX = 0xfdaa
const PORTS = [6379, 6380, 7000] as const

interface Naive {
  networks: Map<number, NetworkRow>
  services: Map<string, ServiceRow>
  addresses: Map<string, AddressRow>
}

const service = (id: string, port: number): ServiceRow => ({ id, org: 'acme', name: `n-${id}`, kind: 'redis', port, placements: [{ node: 'mad-1', role: 'primary' }] })
const flycast = (network: number, number: number): string => formatIpv6(flycastAddress(asNetworkId(network), number))

function naiveDecision(naive: Naive, source: Ipv6, destination: Ipv6, port: number): string {
  const network = networkOf(destination)
  const text = formatIpv6(destination)
  if (!text.startsWith('fdaa:') || network === null || (destination[9] ?? 0) !== 1) return 'not-flycast'
  const from = networkOf(source)
  if (from === null) return 'outside-plan'
  if (from !== network) return 'foreign-network'
  const row = naive.addresses.get(text)
  const owner = row && naive.services.get(row.service)
  return owner?.port === port ? `${owner.id}@${row?.generation}` : 'unknown-address'
}

const said = (decision: Decision): string => (decision.allowed ? `${decision.route.service}@${decision.route.generation}` : decision.reason)

function compare(routes: Routes, naive: Naive): void {
  const used = new Set([...naive.addresses.values()].flatMap((row) => naive.services.get(row.service)?.port ?? []))
  expect(new Set(routes.ports())).toEqual(used)
  expect(new Set<number>(routes.networks)).toEqual(new Set(naive.networks.keys()))
  expect(routes.size).toBe(naive.addresses.size)
  for (const port of PORTS) {
    const owners = [...naive.services.values()].filter((row) => row.port === port && [...naive.addresses.values()].some((address) => address.service === row.id))
    expect(routes.servicesOn(port).toSorted()).toEqual(owners.map(({ id }) => id).toSorted())
  }
}

test('random changes: the same as the naive table, and as a table built whole', () => {
  const random = new Random(testSeed('routes'))
  const routes = new Routes(PREFIX)
  const naive: Naive = { networks: new Map(), services: new Map(), addresses: new Map() }
  for (let step = 0; step < 3000; step++) {
    const network = 1 + random.below(4)
    const id = `s${random.below(6)}`
    const text = flycast(1 + random.below(4), 1 + random.below(6))
    const row = { address: text, network: networkOf(parseIpv6(text)) ?? 0, generation: 1 + random.below(9), service: id }
    switch (random.below(6)) {
      case 0:
        naive.networks.set(network, { id: network, org: 'acme', name: 'default' })
        routes.putNetwork(network, { id: network, org: 'acme', name: 'default' })
        break
      case 1:
        naive.networks.delete(network)
        routes.putNetwork(network, null)
        break
      case 2:
        naive.services.set(id, service(id, PORTS[step % 3] ?? 6379))
        routes.putService(id, naive.services.get(id) ?? null)
        break
      case 3:
        naive.services.delete(id)
        routes.putService(id, null)
        break
      case 4:
        naive.addresses.set(text, row)
        expect(routes.putAddress(text, row)).toBe(true)
        break
      default:
        naive.addresses.delete(text)
        routes.putAddress(text, null)
    }
    const source = machineAddress(asNetworkId(1 + random.below(4)), 2 + random.below(9), 1)
    const destination = parseIpv6(flycast(1 + random.below(4), 1 + random.below(6)))
    const port = random.pick(PORTS)
    expect(said(routes.decide(source, destination, port))).toBe(naiveDecision(naive, source, destination, port))
    if (step % 100 === 0) {
      compare(routes, naive)
      const whole = new Routes(PREFIX)
      expect(whole.replace(naive)).toEqual([])
      compare(whole, naive)
    }
  }
  compare(routes, naive)
  for (const network of [1, 2, 3, 4]) {
    const own = [...naive.addresses.values()].filter((row) => row.network === network).map(({ address }) => address)
    expect(routes.addressesOf(asNetworkId(network)).toSorted()).toEqual(own.toSorted())
  }
})

test('rows that lie about their network, and addresses that are no Flycast addresses, stay unknown', () => {
  const routes = new Routes(PREFIX)
  routes.putService('s', service('s', 6379))
  const lies = [
    { address: 'fdaa:0:1:0:1::2', network: 2 },
    { address: 'fdaa:0:1:0:2::2', network: 1 },
    { address: 'fdbb:0:1:0:1::2', network: 1 },
    { address: 'fdaa:0:1:0:1::', network: 1 },
  ]
  for (const { address, network } of lies) expect(routes.putAddress(address, { address, network, generation: 1, service: 's' })).toBe(false)
  expect(routes.replace({ networks: new Map(), services: new Map(), addresses: new Map([['x', { ...lies[0]!, generation: 1, service: 's' }]]) })).toEqual(['fdaa:0:1:0:1::2'])
  expect(routes.size).toBe(0)
})

test('a change costs the same however many addresses there are', () => {
  const routes = new Routes(PREFIX)
  const addresses = new Map<string, AddressRow>()
  for (let number = 1; number <= 100_000; number++) {
    const address = flycast(1, number)
    addresses.set(address, { address, network: 1, generation: 1, service: `s${number}` })
  }
  const services = new Map(Array.from(addresses.values(), (row) => [row.service, service(row.service, 6379)]))
  routes.replace({ networks: new Map(), services, addresses })
  const startMs = performance.now()
  for (let number = 200_000; number < 201_000; number++) {
    const address = flycast(2, number)
    routes.putService(`t${number}`, service(`t${number}`, 7000))
    routes.putAddress(address, { address, network: 2, generation: 1, service: `t${number}` })
  }
  const elapsedMs = performance.now() - startMs
  expect(routes.size).toBe(101_000)
  expect(said(routes.decide(machineAddress(asNetworkId(2), 5, 5), parseIpv6(flycast(2, 200_500)), 7000))).toBe('t200500@1')
  // Rebuilding 100,000 rows a thousand times would take minutes.
  expect(elapsedMs).toBeLessThan(1000)
})

const rows = (shadow: boolean): ServiceRow => ({ ...service('s', 6379), ...(shadow && { shadow: true as const }) })

test('shadow mode carries what the rule would refuse to an address that exists, on its port, and says so', () => {
  const routes = new Routes(PREFIX)
  const row: AddressRow = { address: flycast(1, 1), network: 1, generation: 1, service: 's' }
  routes.replace({ networks: new Map([[1, { id: 1, org: 'acme', name: 'n' }]]), services: new Map([['s', rows(true)]]), addresses: new Map([[row.address, row]]) })
  const [own, foreign, outside] = [machineAddress(asNetworkId(1), 2, 0), machineAddress(asNetworkId(2), 2, 0), parseIpv6('2001:db8::1')]
  const to = parseIpv6(row.address)
  expect(routes.decide(own, to, 6379)).not.toHaveProperty('shadowed')
  expect(routes.decide(foreign, to, 6379)).toMatchObject({ allowed: true, shadowed: { reason: 'foreign-network', sourceNetwork: 2, network: 1 } })
  expect(routes.decide(outside, to, 6379)).toMatchObject({ allowed: true, shadowed: { reason: 'outside-plan' } })
  expect(routes.decide(foreign, to, 6380)).toMatchObject({ allowed: false })
  expect(routes.decide(foreign, parseIpv6(flycast(1, 2)), 6379)).toMatchObject({ allowed: false })
  routes.putService('s', rows(false))
  expect(routes.decide(foreign, to, 6379)).toMatchObject({ allowed: false, reason: 'foreign-network' })
})
