/**
 * Alert rules and dashboard against the programs: every metric and label that they name exists, every expression is
 * PromQL, every rule has its section in the runbook.
 */
import { readFileSync } from 'node:fs'
import { parser } from '@prometheus-io/lezer-promql'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { AgentMetrics } from '../../agent/metrics.ts'
import { Metrics } from '../../lib/metrics.ts'
import { Measures, measureState } from '../../proxy/measures.ts'
import { backboneMetrics } from '../../router/backbone/metrics.ts'
import { gatewayMetrics } from '../../router/gateway/metrics.ts'
import { routerMetrics } from '../../router/metrics.ts'
import type { TestRegistry } from '../support/registry.ts'
import { startRegistry } from '../support/registry.ts'

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

const rulesFile = z.strictObject({
  groups: z.array(
    z.strictObject({
      name: z.string().regex(/^nearcast-/),
      rules: z.array(
        z.strictObject({
          alert: z.string().regex(/^Nearcast[A-Z]\w+$/),
          expr: z.string(),
          for: z.string().regex(/^\d+[smh]$/).optional(),
          labels: z.strictObject({ severity: z.enum(['info', 'warning', 'critical']) }),
          annotations: z.strictObject({ summary: z.string().min(10), runbook: z.string() }),
        }),
      ),
    }),
  ),
})
const rules = rulesFile.parse(parse(read('packaging/prometheus/alerts.yml'))).groups.flatMap((group) => group.rules)

const panel = z.looseObject({ id: z.int(), title: z.string(), type: z.string(), gridPos: z.object({ x: z.int(), y: z.int(), w: z.int(), h: z.int() }), targets: z.array(z.looseObject({ expr: z.string(), legendFormat: z.string() })).optional() })
const dashboard = z.looseObject({ uid: z.string(), title: z.string(), schemaVersion: z.int(), panels: z.array(panel) }).parse(JSON.parse(read('packaging/grafana/nearcast.json')))

/** Name -> labels, of everything that the programs show. */
const metrics = new Map<string, ReadonlySet<string>>()
let registry: TestRegistry

const empty = (): [] => []
const none = (): 0 => 0
const tls = (): { handshakes: 0; certificates: []; reloads: { succeeded: 0; failed: 0 } } => ({ handshakes: 0, certificates: [], reloads: { succeeded: 0, failed: 0 } })

beforeAll(async () => {
  registry = await startRegistry()
  const proxy = new Metrics('proxy')
  const measured = new Measures(proxy)
  measureState(proxy, { openConnections: none, rejected: none, replacedThreads: none, addresses: none, ports: none, nodes: empty, feed: () => ({ state: 'connected', revision: 0 }), dropped: empty, waiting: none, tls, rates: empty })
  expect(measured).toBeInstanceOf(Measures)
  const agent = new AgentMetrics()
  agent.observe({ perService: () => new Map(), held: { isHeld: () => false }, supervisors: () => new Map(), backends: () => new Map(), forks: () => ({ running: 0, waiting: 0 }), sessions: none, revision: none }, null)
  const router = new Metrics('router')
  routerMetrics(router, registry.registry)
  const gateway = new Metrics('gateway')
  const nothing = { drops: new Map(), bytes: { received: 0, sent: 0, crossed: 0 }, packets: { received: 0, sent: 0, crossed: 0 } }
  gatewayMetrics(gateway, { path: 'portable', data: () => Promise.resolve({ ...nothing, peers: { known: 0, installed: 0, elsewhere: 0, refused: 0 }, gateways: { known: 0, reached: 0 }, deviceDrops: new Map(), innerDrops: new Map(), webSockets: 0 }), feed: () => ({ state: 'connected', revision: 0 }) })
  const backbone = new Metrics('backbone')
  backboneMetrics(backbone, { path: 'portable', hosts: () => ({ known: 0, reached: 0 }), bytes: () => nothing.bytes, drops: () => nothing.drops, feed: () => ({ state: 'connected', revision: 0 }) })
  for (const program of [proxy, agent.metrics, router, gateway, backbone]) for (const { name, labels, type } of await program.described()) {
    const suffixes = type === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']
    for (const suffix of suffixes) metrics.set(name + suffix, new Set(suffix === '_bucket' ? [...labels, 'le'] : labels))
  }
  metrics.set('up', new Set())
})
afterAll(() => registry.remove())

/** What a scrape adds. */
const ADDED = new Set(['job', 'instance'])

interface Parsed {
  readonly errors: number
  readonly names: readonly string[]
  readonly labels: readonly string[]
}

function parsed(expression: string): Parsed {
  // Grafana fills in its variables first.
  const text = expression.replaceAll('$__rate_interval', '5m')
  const found = { errors: 0, names: [] as string[], labels: [] as string[] }
  parser.parse(text).iterate({
    enter: (node) => {
      const words = text.slice(node.from, node.to)
      if (node.type.isError) found.errors++
      else if (node.name === 'Identifier' && node.node.parent?.name === 'VectorSelector') found.names.push(words)
      else if (node.name === 'LabelName') found.labels.push(words)
    },
  })
  return found
}

function check(expression: string): void {
  const { errors, names, labels } = parsed(expression)
  expect([expression, errors]).toEqual([expression, 0])
  expect(names.length).toBeGreaterThan(0)
  expect([expression, names.filter((name) => !metrics.has(name))]).toEqual([expression, []])
  const known = new Set([...ADDED, ...names.flatMap((name) => [...(metrics.get(name) ?? [])])])
  expect([expression, labels.filter((label) => !known.has(label))]).toEqual([expression, []])
}

test('the judge sees faults', () => {
  expect(parsed('sum(rate(x_total[5m])').errors).toBeGreaterThan(0)
  expect(parsed('sum by (a) (rate(x_total{b="c"}[5m]))')).toEqual({ errors: 0, names: ['x_total'], labels: ['a', 'b'] })
})

test('every alert asks for what there is', () => {
  expect(rules.length).toBeGreaterThan(15)
  expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length)
  for (const { expr, annotations } of rules) {
    check(expr)
    const { names } = parsed(expr)
    const known = new Set([...ADDED, ...names.flatMap((name) => [...(metrics.get(name) ?? [])])])
    for (const [, label = ''] of annotations.summary.matchAll(/\$labels\.(\w+)/g)) expect([expr, known.has(label)]).toEqual([expr, true])
  }
})

test('every alert has a section in the runbook, which says what it means and what to do; and no section is left over', () => {
  const sections = new Map(
    read('docs/runbook.md')
      .split(/^## /m)
      .slice(1)
      .map((section) => [section.split('\n')[0] ?? '', section] as const),
  )
  expect([...sections.keys()].toSorted()).toEqual(rules.map(({ alert }) => alert).toSorted())
  for (const { alert, annotations } of rules) {
    expect(annotations.runbook).toBe(`docs/runbook.md#${alert.toLowerCase()}`)
    expect(sections.get(alert)).toMatch(/\n\n.{15,}\n\n1\. .+/)
  }
})

test('every panel asks for what there is, and none lies on another', () => {
  const queries = dashboard.panels.flatMap(({ targets = [] }) => targets)
  expect(queries.length).toBeGreaterThan(15)
  for (const { expr } of queries) check(expr)
  const ids = dashboard.panels.map(({ id }) => id)
  expect(new Set(ids).size).toBe(ids.length)
  const cells = dashboard.panels.flatMap(({ gridPos: { x, y, w, h } }) => Array.from({ length: w * h }, (_, cell) => `${x + (cell % w)},${y + Math.floor(cell / w)}`))
  expect(new Set(cells).size).toBe(cells.length)
  expect(Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.x + gridPos.w))).toBeLessThanOrEqual(24)
})
