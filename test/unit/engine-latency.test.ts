/** Latencies out of an engine's own histograms, as it answers them in RESP2. */
import { expect, test } from 'vitest'
import type { Reply } from '../../agent/redis/resp/reply-decoder.ts'
import { engineLatency, kindsCommand } from '../../agent/redis/statistics/engine-latency.ts'

function reply(value: string | number | readonly unknown[]): Reply {
  if (typeof value === 'string') return { kind: 'text', text: value }
  if (typeof value === 'number') return { kind: 'number', value }
  return { kind: 'list', items: value.map((each) => reply(each as string | number | unknown[])) }
}

const COMMANDS = reply([['get', 2, ['readonly', 'fast']], ['mget', -2, ['readonly', 'fast']], ['set', -3, ['write']], ['blpop', -3, ['write', 'blocking']], ['ping', -1, ['fast']]])
const INFO = reply('# Commandstats\r\ncmdstat_get:calls=98,usec=196,usec_per_call=2.00\r\ncmdstat_mget:calls=2,usec=2004,usec_per_call=1002.00\r\ncmdstat_ping:calls=5,usec=9,usec_per_call=2\r\n')
const histogram = (calls: number, ...buckets: number[]): unknown[] => ['calls', calls, 'histogram_usec', buckets]

test('reads of all kinds are one, and what may wait is none', () => {
  const histograms = reply(['mget', histogram(2, 1057, 2), 'ping', histogram(5, 4, 5), 'get', histogram(98, 1, 10, 2, 90, 4, 98), 'blpop', histogram(1, 8_000_000, 1)])
  expect(engineLatency([histograms, INFO, COMMANDS])).toEqual({ read: { count: 100, meanMs: 0.022, p99Ms: 1.057 }, write: null })
  const without = reply(['get', histogram(98, 1, 10, 2, 97, 4, 98)])
  expect(engineLatency([without, INFO, COMMANDS])?.read?.p99Ms).toBe(0.004)
})

test('only commands that were met are asked about', () => {
  expect(kindsCommand([reply(['mget', histogram(2, 1057, 2), 'config|get', histogram(5, 4, 5)]), INFO])).toEqual(['COMMAND', 'INFO', 'mget', 'config|get'])
  expect(kindsCommand([reply([]), INFO])).toEqual(['COMMAND', 'INFO', 'ping'])
  expect(kindsCommand(null)).toEqual(['COMMAND', 'INFO', 'ping'])
})

test('an engine that says nothing, or something else, has none', () => {
  expect(engineLatency(null)).toBeUndefined()
  expect(engineLatency([{ kind: 'error', text: "ERR unknown subcommand 'HISTOGRAM'" }, INFO, COMMANDS])).toBeUndefined()
  expect(engineLatency([reply(['get', 'what', 'set']), INFO, COMMANDS])).toEqual({ read: null, write: null })
})
