/** Who gets which database in the scale demo. */
import { expect, test } from 'vitest'
import { parse } from 'smol-toml'
import { MAX_DATABASES, organizations, planDatabases, topologyText } from '../../cli/demo/scale/plan.ts'
import { planTopology, topologySchema } from '../../cli/dev/topology.ts'

test.each([3, 50, 200, 201, 1000, MAX_DATABASES])('%i databases: within quotas, every region in use, every name once', (count) => {
  const planned = planDatabases(count)
  expect(planned).toHaveLength(count)
  expect(new Set(planned.map(({ org, name }) => `${org}/${name}`)).size).toBe(count)
  expect(new Set(planned.map(({ region }) => region))).toEqual(new Set(['mad', 'ams', 'gru']))
  const perOrg = Map.groupBy(planned, ({ org }) => org)
  expect([...perOrg.keys()].toSorted()).toEqual(organizations(count).toSorted())
  for (const databases of perOrg.values()) expect(databases.length).toBeLessThanOrEqual(200)
})

test('its topology is one, with engines that rest', () => {
  const topology = planTopology(topologySchema.parse(parse(topologyText(1000, 0.5))))
  expect(topology.orgs).toHaveLength(5)
  expect(topology.idleStopMinutes).toBe(0.5)
  expect(topology.appHosts.find(({ org, region }) => org === 'org-1' && region === 'mad')?.host).toBe('mad-2')
  expect(planTopology(topologySchema.parse(parse(topologyText(MAX_DATABASES, 0)))).orgs).toHaveLength(16)
})
