/** `nearcast latency`: what is measured, kept and shown. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { distributionChart, heat, trendChart } from '../../cli/latency/charts.ts'
import { appendHistory, readHistory } from '../../cli/latency/history.ts'
import { measure } from '../../cli/latency/measure.ts'
import { latencyPage } from '../../cli/latency/page.ts'
import type { LatencyReport, Measured, Way } from '../../cli/latency/report.ts'
import { directTwin } from '../../cli/latency/report.ts'
import { latencyLines } from '../../cli/latency/tables.ts'

const closing: (() => void)[] = []

afterEach(() => {
  for (const close of closing.splice(0)) close()
})

function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), 'nearcast-latency-'))
  closing.push(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

const measured = (p50: number): Measured => ({ count: 3, p50, p90: p50 * 2, p99: p50 * 3, samples: [p50, p50 * 2, p50 * 3] })

function way(kind: Way['kind'], region: string, changes: Partial<Way> = {}): Way {
  return { org: 'acme', database: 'cache', kind, region, connect: measured(1), firstByte: measured(2), get: measured(0.3), set: null, errors: [], ...changes }
}

function report(p50 = 12): LatencyReport {
  return {
    at: '2026-01-02T03:04:05.000Z',
    proxies: [{ proxy: 'mad-1', region: 'mad', nodes: [{ node: 'gru-1', region: 'gru', healthy: false, connect: measured(40), rtt: measured(p50) }, { node: 'new-1', region: 'gru', healthy: true, connect: null, rtt: null }] }],
    missing: [{ identity: 'proxy/ams-1', reason: 'It <b>slept</b>.' }],
    ways: [way('direct', 'mad'), way('through', 'mad', { errors: ['READONLY "no" & <never>'] }), way('through', 'gru', { get: null })],
  }
}

test('the page needs nothing from elsewhere, runs nothing, and escapes what the cluster says', () => {
  const page = latencyPage(report(), [report(10), report()])
  expect(page).not.toMatch(/<script|https?:|url\(|<link|<img|@import/)
  expect(page).toContain('It &lt;b&gt;slept&lt;/b&gt;.')
  expect(page).toContain('READONLY &quot;no&quot; &amp; &lt;never&gt;')
  expect(page).not.toContain('<never>')
  expect(page).toContain('12.0<br><small>36.0</small>')
  expect(page).toContain('unhealthy')
  expect(page).toContain('2 reports in its history')
  expect(page.match(/<polyline/g)?.length).toBe(2)
  for (const tag of ['table', 'div', 'svg', 'td', 'tr', 'h2', 'p']) {
    expect([tag, page.split(`<${tag}`).filter((_, index) => index > 0).filter((rest) => /^[ >]/.test(rest)).length]).toEqual([tag, page.split(`</${tag}>`).length - 1])
  }
})

test('a first report has no trend, one without ways no such section', () => {
  const page = latencyPage({ ...report(), ways: [] }, [report()])
  expect(page).not.toContain('<h2>Trend')
  expect(page).not.toContain('<h2>To databases')
})

test('a terminal sees who is missing, and why a way has no number', () => {
  const lines = latencyLines(report()).join('\n')
  expect(lines).toContain('proxy/ams-1')
  expect(lines).toContain('0.30 / 0.60 / 0.90')
  expect(lines).toContain('READONLY')
})

test('direct twins are in the same region where there is one', () => {
  const ways = [way('direct', 'mad'), way('direct', 'ams'), way('direct', 'gru', { database: 'other' })]
  expect(directTwin(ways, way('through', 'ams'))?.region).toBe('ams')
  expect(directTwin(ways, way('through', 'gru'))?.region).toBe('mad')
  expect(directTwin(ways, way('through', 'mad', { org: 'globex' }))).toBeUndefined()
})

test('charts: bars for samples, a line for a trend, nothing for nothing', () => {
  expect(distributionChart([{ label: 'x', style: 'a', values: [] }])).toBe('')
  expect(distributionChart([{ label: 'x', style: 'a', values: [1, 1, 1, 50] }]).match(/<rect class="a"/g)).toHaveLength(2)
  expect(distributionChart([{ label: 'x', style: 'a', values: [3] }])).not.toMatch(/NaN|Infinity/)
  expect(trendChart([{ label: 'x', style: 'a', values: [5] }])).toBe('')
  const [, points = ''] = /points="([^"]*)"/.exec(trendChart([{ label: 'x', style: 'a', values: [1, Number.NaN, 2] }])) ?? []
  expect(points.split(' ')).toHaveLength(2)
  expect([heat(0, 100), heat(100, 100), heat(500, 100), heat(5, 0)]).toEqual([0, 1, 1, 0])
})

test('a history is appended to, keeps percentiles, and survives lines that are no reports', () => {
  const file = join(temporary(), 'history.jsonl')
  expect(readHistory(file)).toEqual([])
  appendHistory(file, report(1))
  writeFileSync(file, '{"cut', { flag: 'a' })
  writeFileSync(file, '\n', { flag: 'a' })
  appendHistory(file, report(2))
  const found = readHistory(file)
  expect(found.map(({ proxies }) => proxies[0]?.nodes[0]?.rtt)).toEqual([{ count: 3, p50: 1, p90: 2, p99: 3 }, { count: 3, p50: 2, p90: 4, p99: 6 }])
  expect(() => appendHistory(join(file, 'below'), report())).toThrow(expect.objectContaining({ code: 'cli.file' }))
})

/** Answers RESP commands by their name, in pieces. */
async function redis(answers: Readonly<Record<string, string>>): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.on('data', (chunk) => {
      const [, , name = ''] = chunk.toString().split('\r\n').slice(0, 3)
      const answer = answers[name] ?? '-ERR unknown\r\n'
      socket.write(answer.slice(0, 3))
      setImmediate(() => socket.write(answer.slice(3)))
    })
  })
  await new Promise<void>((resolve) => server.listen({ host: '::1', port: 0 }, resolve))
  closing.push(() => server.close())
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

const TASK = { username: 'default', password: 'p', samples: 8 }

test('measuring counts what was answered and says what was refused', async () => {
  const port = await redis({ AUTH: '+OK\r\n', GET: '$16\r\nsixteen bytes...\r\n', SET: '-READONLY no writes\r\n' })
  const found = await measure({ ...TASK, place: { host: '::1', port } })
  expect([found.connect.length, found.firstByte.length, found.get.length, found.set.length]).toEqual([4, 4, 8, 0])
  expect(found.errors).toEqual(['READONLY no writes'])
  expect([...found.connect, ...found.firstByte, ...found.get].every((ms) => ms > 0 && ms < 5000)).toBe(true)
})

test('a wrong password and a closed port are reasons, not samples', async () => {
  const port = await redis({ AUTH: '-WRONGPASS no\r\n' })
  expect(await measure({ ...TASK, place: { host: '::1', port } })).toMatchObject({ firstByte: [], get: [], errors: ['WRONGPASS no'] })
  const { errors } = await measure({ ...TASK, place: { path: join(temporary(), 'none') } })
  expect(errors[0]).toContain('ENOENT')
})
