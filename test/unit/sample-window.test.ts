/** The window that percentiles of probes come from. */
import { expect, test } from 'vitest'
import { distribution, percentile } from '../../lib/distribution.ts'
import { SampleWindow } from '../../proxy/nearest/sample-window.ts'

test('is empty at first, and ignores what is no time', () => {
  const window = new SampleWindow(4)
  for (const wrong of [-1, Number.NaN, Number.POSITIVE_INFINITY]) window.add(wrong)
  expect(window.distribution).toBeNull()
  expect(window.samples).toEqual([])
})

test('keeps the last ones, the oldest first', () => {
  const window = new SampleWindow(3)
  window.add(1)
  window.add(2)
  expect(window.samples).toEqual([1, 2])
  for (const sample of [3, 4, 5]) window.add(sample)
  expect(window.samples).toEqual([3, 4, 5])
  window.add(6)
  expect(window.samples).toEqual([4, 5, 6])
  expect(window.distribution).toEqual({ count: 3, p50: 5, p90: 5.8, p99: 5.98 })
})

test('percentiles lie between neighbours; a distribution is rounded to a thousandth', () => {
  const values = Array.from({ length: 101 }, (_, index) => 100 - index)
  expect([0, 0.5, 0.9, 0.99, 1].map((share) => percentile(values, share))).toEqual([0, 50, 90, 99, 100])
  expect(distribution([0.12345])).toEqual({ count: 1, p50: 0.123, p90: 0.123, p99: 0.123 })
  expect(distribution([])).toBeNull()
})
