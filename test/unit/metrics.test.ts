/** Metrics: one registry per program, names as the conventions want them. */
import { expect, test } from 'vitest'
import { Metrics } from '../../lib/metrics.ts'

test('counter, gauge and histogram appear under the name of the program', async () => {
  const metrics = new Metrics('proxy')
  metrics.counter('denied_total', 'Refused connections.', ['reason']).inc({ reason: 'foreign-network' }, 2)
  metrics.gauge('connections', 'Open connections.').set(3)
  metrics.histogram('dial_seconds', 'Time to dial.', [0.01, 0.1]).observe(0.05)
  const text = await metrics.text()
  expect(text).toContain('nearcast_proxy_denied_total{reason="foreign-network"} 2')
  expect(text).toContain('nearcast_proxy_connections 3')
  expect(text).toContain('nearcast_proxy_dial_seconds_bucket{le="0.01"} 0')
  expect(text).toContain('nearcast_proxy_dial_seconds_bucket{le="0.1"} 1')
  expect(text).toContain('# HELP nearcast_proxy_denied_total Refused connections.')
  expect(metrics.contentType).toMatch(/^text\/plain/)
})

test('a collected gauge is asked when it is read, each time', async () => {
  const metrics = new Metrics('agent')
  let tenants = 0
  metrics.gauge('tenants', 'Tenants.', ['state'], (gauge) => gauge.set({ state: 'up' }, ++tenants))
  expect(await metrics.text()).toContain('nearcast_agent_tenants{state="up"} 1')
  expect(await metrics.text()).toContain('nearcast_agent_tenants{state="up"} 2')
})

test('two programs in one process share nothing; a name is taken once', async () => {
  const one = new Metrics('proxy')
  const two = new Metrics('proxy')
  one.counter('opened_total', 'Opened.').inc()
  two.counter('opened_total', 'Opened.')
  expect(await two.text()).toContain('nearcast_proxy_opened_total 0')
  expect(() => one.counter('opened_total', 'Opened.')).toThrow(/already/)
})

test('a label value cannot forge a line', async () => {
  const metrics = new Metrics('proxy')
  metrics.counter('denied_total', 'Refused.', ['reason']).inc({ reason: 'a"} 9\nforged 1' })
  const text = await metrics.text()
  expect(text.split('\n').some((line) => line.startsWith('forged'))).toBe(false)
})

test('the process itself is measured', async () => {
  expect(await new Metrics('router').text()).toContain('process_cpu_seconds_total')
})
