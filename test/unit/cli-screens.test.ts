/** What the commands show: the screen of top, the doctor's judgement of limits, generated names, and the context file. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { contextFile, loadContext, saveContext } from '../../cli/context.ts'
import { checkLimits } from '../../cli/doctor/limits.ts'
import { generateName } from '../../cli/generated-name.ts'
import type { Live } from '../../cli/top.ts'
import { topScreen } from '../../cli/top.ts'

let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'nearcast-screens-'))
})
afterAll(() => rmSync(directory, { recursive: true }))

function live(databases: number): Live {
  const nodes = [
    { node: 'mad-1', region: 'mad', healthy: true, latencyMs: 0.42, connections: 3 },
    { node: 'gru-1', region: 'gru', healthy: false, latencyMs: null, connections: 0 },
  ]
  return {
    revision: 9,
    proxies: [{ proxy: 'mad-1', region: 'mad', feed: { state: 'disconnected', revision: 7 }, addresses: 2, connections: 3, nodes }],
    agents: [
      {
        agent: 'mad-1',
        region: 'mad',
        connections: 3,
        databases: Array.from({ length: databases }, (_, index) => ({ service: `db_${index}`, role: 'primary', reason: index === 0 ? 'starting' : null, connections: index })),
      },
    ],
    services: [{ id: 'db_0', org: 'acme', name: 'demo' }],
    missing: [{ identity: 'agent/gru-1', reason: 'no answer in time' }],
  }
}

test('top shows proxies, latencies, what is wrong, and the busiest databases that fit', () => {
  const lines = topScreen(live(50), 24).map(stripVTControlCharacters)
  expect(lines.length).toBeLessThanOrEqual(24)
  const text = lines.join('\n')
  expect(text).toMatch(/^revision 9 {3}1 proxy {3}1 agent {3}3 connections\n/)
  expect(text).toMatch(/mad-1 +mad +3 +2 +disconnected +7 \(2 behind\)/)
  expect(text).toMatch(/NODE +REGION +FROM MAD-1\n *gru-1 +gru +- · 0 unhealthy\n *mad-1 +mad +0\.4 ms · 3\n/)
  expect(text).toContain('agent/gru-1: no answer in time')
  expect(text).toMatch(/db_49 +mad-1 +primary +49 +available\ndb_48/)
  expect(text).toMatch(/and 39 more$/)
  expect(topScreen(live(1), Number.MAX_SAFE_INTEGER).map(stripVTControlCharacters).join('\n')).toMatch(/acme\/demo +mad-1 +primary +0 +starting$/)
})

function machine(files: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(checkLimits((file) => files[file] ?? null).map(({ id, answer, todo }) => [id, todo === undefined ? answer : `${answer}: ${todo}`]))
}

function limits(hard: string): string {
  return `Limit   Soft Limit  Hard Limit  Units\nMax open files            1024                 ${hard}              files\n`
}

test('limits: enough, too low with what to do, not told, not in use', () => {
  expect(machine({})).toEqual({ nofile: 'unknown', somaxconn: 'unknown', conntrack: 'yes', 'ephemeral-ports': 'unknown' })
  expect(
    machine({
      '/proc/self/limits': limits('1048576'),
      '/proc/sys/net/core/somaxconn': '4096\n',
      '/proc/sys/net/netfilter/nf_conntrack_max': '262144\n',
      '/proc/sys/net/ipv4/ip_local_port_range': '32768\t60999\n',
    }),
  ).toEqual({ nofile: 'yes', somaxconn: 'yes', conntrack: 'yes', 'ephemeral-ports': 'yes' })
  expect(
    machine({
      '/proc/self/limits': limits('4096'),
      '/proc/sys/net/core/somaxconn': '128\n',
      '/proc/sys/net/netfilter/nf_conntrack_max': '65536\n',
      '/proc/sys/net/ipv4/ip_local_port_range': '50000 60999\n',
    }),
  ).toMatchObject({ nofile: expect.stringMatching(/^no: LimitNOFILE/), somaxconn: 'no: sysctl -w net.core.somaxconn=4096', conntrack: expect.stringMatching(/^no: sysctl/), 'ephemeral-ports': expect.stringMatching(/^no: sysctl/) })
  expect(machine({ '/proc/self/limits': limits('unlimited') })).toMatchObject({ nofile: 'yes' })
})

test('generated names are host names', () => {
  for (const pick of [() => 0, (below: number) => below - 1, (below: number) => Math.floor(below / 2)]) {
    expect(generateName(pick)).toMatch(/^[a-z]+-[a-z]+-[1-9]\d{3}$/)
  }
})

test('the context file: none is empty, a damaged one says how to be rid of it', () => {
  expect(contextFile({ XDG_CONFIG_HOME: '/x' })).toBe('/x/nearcast/context.json')
  expect(contextFile({ XDG_CONFIG_HOME: 'relative', HOME: '/home/me' })).toBe('/home/me/.config/nearcast/context.json')
  const file = join(directory, 'a/context.json')
  expect(loadContext(file)).toEqual({})
  saveContext({ org: 'acme' }, file)
  expect(loadContext(file)).toEqual({ org: 'acme' })
  for (const text of ['', '[]', '{', 'null', '{"org":7}', '{"org":""}', '{"token":"x"}', `{"org":"${'x'.repeat(300)}"}`]) {
    writeFileSync(file, text)
    expect(() => loadContext(file)).toThrow(expect.objectContaining({ code: 'config.invalid', message: expect.stringContaining('use --clear') }))
  }
})
