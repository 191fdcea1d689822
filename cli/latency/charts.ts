/**
 * Small charts as inline SVG: a distribution (one or two sets of samples on a logarithmic axis) and a trend. Pure; the
 * colours are the page's CSS variables, so that they follow its light and dark theme.
 */
export interface Series {
  readonly label: string
  /** A CSS class of the page: `a`, `b`. */
  readonly style: string
  readonly values: readonly number[]
}

const WIDTH = 340
const HEIGHT = 96
const LEFT = 8
const BOTTOM = 18
const BINS = 34

/** Histograms over each other, each scaled to its own highest bin. '' without samples. */
export function distributionChart(series: readonly Series[]): string {
  const all = series.flatMap(({ values }) => values).filter((value) => value > 0)
  if (all.length === 0) return ''
  const low = Math.log10(Math.min(...all)) - 0.05
  const high = Math.max(Math.log10(Math.max(...all)) + 0.05, low + 0.3)
  const x = (value: number): number => LEFT + ((Math.log10(Math.max(value, 1e-3)) - low) / (high - low)) * (WIDTH - 2 * LEFT)
  const bars = series.flatMap(({ style, values }) => {
    const bins = Array.from({ length: BINS }, () => 0)
    for (const value of values) {
      const bin = Math.min(BINS - 1, Math.max(0, Math.floor(((x(value) - LEFT) / (WIDTH - 2 * LEFT)) * BINS)))
      bins[bin] = (bins[bin] ?? 0) + 1
    }
    const highest = Math.max(...bins, 1)
    const width = (WIDTH - 2 * LEFT) / BINS
    return bins.flatMap((count, bin) => {
      const height = (count / highest) * (HEIGHT - BOTTOM - 6)
      return count === 0 ? [] : [`<rect class="${style}" x="${fixed(LEFT + bin * width)}" y="${fixed(HEIGHT - BOTTOM - height)}" width="${fixed(width - 1)}" height="${fixed(height)}"/>`]
    })
  })
  const marks = ticks(low, high).map((value) => `<text x="${fixed(x(value))}" y="${HEIGHT - 5}" text-anchor="middle">${label(value)}</text>`)
  return svg([...bars, axis(), ...marks], 'Distribution of samples, in milliseconds')
}

/** Lines over time, the oldest on the left. '' for fewer than two points. */
export function trendChart(series: readonly Series[]): string {
  const longest = Math.max(0, ...series.map(({ values }) => values.length))
  const all = series.flatMap(({ values }) => values).filter((value) => Number.isFinite(value))
  if (longest < 2 || all.length === 0) return ''
  const top = Math.max(...all) * 1.1 || 1
  const y = (value: number): number => HEIGHT - BOTTOM - (value / top) * (HEIGHT - BOTTOM - 8)
  const x = (index: number): number => LEFT + (index / (longest - 1)) * (WIDTH - 2 * LEFT)
  const lines = series.map(({ style, values }) => {
    const offset = longest - values.length
    const points = values.flatMap((value, index) => (Number.isFinite(value) ? [`${fixed(x(offset + index))},${fixed(y(value))}`] : []))
    return `<polyline class="${style} line" points="${points.join(' ')}"/>`
  })
  return svg([...lines, axis(), `<text x="${LEFT}" y="10">${label(top)} ms</text>`, `<text x="${WIDTH - LEFT}" y="${HEIGHT - 5}" text-anchor="end">now</text>`], 'Trend of the median, in milliseconds')
}

/** Background of a heat map's cell: `share` 0 (near) to 1 (far). */
export function heat(ms: number, farthestMs: number): number {
  if (!(farthestMs > 0)) return 0
  return Math.min(1, Math.log1p(Math.max(0, ms)) / Math.log1p(farthestMs))
}

function svg(parts: readonly string[], title: string): string {
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="${title}">${parts.join('')}</svg>`
}

function axis(): string {
  return `<line class="axis" x1="${LEFT}" y1="${HEIGHT - BOTTOM}" x2="${WIDTH - LEFT}" y2="${HEIGHT - BOTTOM}"/>`
}

/** 1, 2 and 5 of each decade that is shown, thinned until they have room. */
function ticks(low: number, high: number): number[] {
  const found: number[] = []
  for (let decade = Math.floor(low); decade <= Math.ceil(high); decade++) {
    for (const step of [1, 2, 5]) {
      const value = step * 10 ** decade
      const at = Math.log10(value)
      if (at >= low && at <= high) found.push(value)
    }
  }
  return found.length > 6 ? found.filter((value) => Number.isInteger(Math.round(Math.log10(value) * 1000) / 1000)) : found
}

function label(value: number): string {
  return value >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(2)))
}

function fixed(value: number): string {
  return value.toFixed(1)
}
