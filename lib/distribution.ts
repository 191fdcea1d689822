/** Percentiles of what was measured. Pure. */

export interface Distribution {
  readonly count: number
  readonly p50: number
  readonly p90: number
  readonly p99: number
}

/** `share` 0 to 1, linear between neighbours. NaN for no values. */
export function percentile(values: readonly number[], share: number): number {
  return ofSorted(Float64Array.from(values).toSorted(), share)
}

/** null for no values. In the values' unit, to a thousandth. */
export function distribution(values: readonly number[]): Distribution | null {
  if (values.length === 0) return null
  const sorted = Float64Array.from(values).toSorted()
  const at = (share: number): number => Math.round(ofSorted(sorted, share) * 1000) / 1000
  return { count: values.length, p50: at(0.5), p90: at(0.9), p99: at(0.99) }
}

function ofSorted(sorted: Float64Array, share: number): number {
  const at = (sorted.length - 1) * share
  const below = sorted[Math.floor(at)] ?? Number.NaN
  const above = sorted[Math.ceil(at)] ?? Number.NaN
  return below + (above - below) * (at - Math.floor(at))
}
