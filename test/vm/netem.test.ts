/** Links of the cluster for development where the kernel delays them: a round trip, another one, a cut, and back. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Links } from '../../cli/dev/links.ts'
import { planNetwork } from '../../cli/dev/network-plan.ts'
import { enter, NETEM_PROBE, networkScript } from '../../cli/dev/network-script.ts'
import { planTopology, topologySchema } from '../../cli/dev/topology.ts'
import { World } from '../../cli/dev/world.ts'

const topology = planTopology(
  topologySchema.parse({
    router: 'mad-1',
    region: [{ id: 'mad', hosts: ['mad-1'] }, { id: 'ams', hosts: ['ams-1'] }],
    link: [{ between: ['mad', 'ams'], rttMs: 200 }],
    org: [{ name: 'acme' }],
    database: [],
  }),
)
const there = topology.hosts.find(({ id }) => id === 'ams-1')?.address ?? ''
let world: World
beforeAll(async () => {
  world = await World.open([])
})
afterAll(() => world.close())

/** The fastest of some, in milliseconds; null: none came back. */
async function roundTrip(): Promise<number | null> {
  const said = await world.call('script', { text: `${enter('mad-1')} ping -6 -q -c 5 -i 0.3 -W 3 ${there} || true\n` })
  const fastest = /rtt min\/avg\/max\/mdev = ([\d.]+)\//.exec(said)?.[1]
  return fastest === undefined ? null : Number(fastest)
}

test('a link takes as long as it is told, while it is in use', async () => {
  expect((await world.call('script', { text: NETEM_PROBE })).trim()).toBe('yes')
  await world.call('script', { text: networkScript(planNetwork(topology, 'netem')) })
  const links = new Links(world, topology, 'netem')
  await links.start(() => expect.fail('the kernel does it'))
  const first = await roundTrip()
  await links.change('mad-ams', { rttMs: 600 })
  const second = await roundTrip()
  await links.change('mad-ams', 'drop')
  const third = await roundTrip()
  await links.change('ams-mad', 'restore')
  const fourth = await roundTrip()
  console.log(`round trips: ${first}, ${second}, ${third}, ${fourth} ms`)
  expect(third).toBeNull()
  expect(first).toBeGreaterThanOrEqual(199)
  expect(first).toBeLessThan(450)
  for (const each of [second, fourth]) {
    expect(each).toBeGreaterThanOrEqual(599)
    expect(each).toBeLessThan(850)
  }
  expect(links.status).toEqual([{ id: 'mad-ams', rttMs: 600, dropping: false }])
})
