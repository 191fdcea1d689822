/** The bench's arithmetic: medians, the bootstrap's interval, verdicts, and what is written of them. */
import { expect, test } from 'vitest'
import type { Result } from '../../bench/runner.ts'
import { plot } from '../../bench/report/plot.ts'
import { between } from '../../bench/report/readme.ts'
import { cells, markdown, padded } from '../../bench/report/table.ts'
import { median, ratioOfMedians, verdict } from '../../bench/statistics.ts'
import { percentile } from '../../lib/distribution.ts'
import { Random } from '../support/random.ts'

test('median and percentile, between neighbours', () => {
  expect(median([3, 1, 2])).toBe(2)
  expect(median([4, 1, 2, 3])).toBe(2.5)
  expect(percentile([10, 20], 0.25)).toBe(12.5)
  expect(percentile([5], 0.99)).toBe(5)
  expect(median([])).toBeNaN()
})

test('identical rounds have an interval without width', () => {
  expect(ratioOfMedians([2, 2, 2], [[1, 1, 1]])).toEqual({ ratio: 2, interval: [2, 2] })
})

test('the best of several is what counts', () => {
  expect(ratioOfMedians([2, 2, 2], [[8, 8, 8], [4, 4, 4]]).ratio).toBe(0.5)
})

test('what slows whole rounds cancels out: rounds stay together', () => {
  const slow = [1, 5, 1, 7, 1, 9, 2, 3]
  const { ratio, interval } = ratioOfMedians(slow.map((value) => value * 1.1), [slow])
  expect(ratio).toBeCloseTo(1.1)
  expect(interval[0]).toBeCloseTo(1.1)
  expect(interval[1]).toBeCloseTo(1.1)
})

test('the interval covers the true ratio about 95 times in 100', () => {
  const seeded = new Random(7)
  const random = (): number => seeded.below(1 << 30) / (1 << 30)
  const noisy = (mean: number): number => mean * (1 + 0.2 * (random() + random() + random() - 1.5))
  const rounds = (mean: number): number[] => Array.from({ length: 20 }, () => noisy(mean))
  const runs = 60
  let covered = 0
  for (let run = 0; run < runs; run++) {
    const { interval } = ratioOfMedians(rounds(3), [rounds(2)])
    if (interval[0] <= 1.5 && interval[1] >= 1.5) covered++
  }
  expect(covered).toBeGreaterThanOrEqual(runs * 0.85)
  expect(covered).toBeLessThanOrEqual(runs)
})

test('a rival that is not above zero cannot be divided by, and fewer rounds cannot be compared', () => {
  expect(ratioOfMedians([1, 1, 1], [[-1, 0, -2]])).toEqual({ ratio: Infinity, interval: [Infinity, Infinity] })
  expect(() => ratioOfMedians([1, 2], [[1]])).toThrow(RangeError)
  expect(() => ratioOfMedians([1], [])).toThrow(RangeError)
})

test.each([
  [[0.8, 0.9], 'met'],
  [[0.8, 1], 'met'],
  [[0.9, 1.1], 'undecided'],
  [[1, 1.1], 'undecided'],
  [[1.01, 1.1], 'missed'],
] as const)('interval %j against a goal of 1 is %s', (interval, expected) => {
  expect(verdict(interval, 1)).toBe(expected)
})

const result: Result = {
  name: 'small <requests>', unit: 'us', ours: 12.34, peers: { haproxy: 10 }, ratio: 1.234, interval: [1.1, 1.3], goal: 1, met: 'missed', against: ['haproxy'], rounds: 20,
}
const order = new Map([['haproxy', 'HAProxy'], ['nginx', 'nginx stream']])

test('tables name who was there, what was measured, and the verdict', () => {
  const rows = cells([result], order)
  expect(rows).toEqual([
    ['scenario', 'unit', 'Nearcast', 'HAProxy', 'ratio', '95 % interval', 'goal', 'verdict'],
    ['small <requests>', 'us', '12.3', '10.0', '1.23 of HAProxy', '1.10 - 1.30', '<= 1', 'missed'],
  ])
  expect(markdown(rows).split('\n')[1]).toBe('| --- | --- | --- | --- | --- | --- | --- | --- |')
  expect(padded(rows).split('\n')).toHaveLength(2)
})

test('the plot is XML with a bar for each program, as long as its value', () => {
  const svg = plot([result], order, 'A & B')
  expect(svg).toContain('small &lt;requests&gt;')
  expect(svg).toContain('A &amp; B')
  const widths = [...svg.matchAll(/<rect x="270" [^>]*width="([\d.]+)"/g)].map((match) => Number(match[1]))
  expect(widths).toEqual([400, 324.1])
})

test('results are put between the markers, and nowhere when those are gone', () => {
  const document = 'a\n<!-- results: written by npm run bench -- proxy --write -->\nold\n<!-- /results -->\nb\n'
  expect(between(document, 'new')).toBe('a\n<!-- results: written by npm run bench -- proxy --write -->\n\nnew\n\n<!-- /results -->\nb\n')
  expect(() => between('nothing', 'new')).toThrow('markers')
})
