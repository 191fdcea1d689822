/**
 * Results as an SVG: one row a scenario, its programs as bars (the longest fills the row), ours first, and the verdict.
 * Self-made, because it has to be readable and nothing else. Pure.
 */
import type { Result } from '../runner.ts'
import { number } from './table.ts'

const WIDTH = 860
const LABEL_WIDTH = 270
const BAR_WIDTH = 400
const BAR_HEIGHT = 15
const ROW_GAP = 26
const TOP = 46
const COLOURS: readonly string[] = ['#0b6e8e', '#9aa5b1', '#b8c2cc', '#d5dbe1']
const VERDICT_COLOURS: Readonly<Record<string, string>> = { met: '#1f7a3d', missed: '#b3261e', undecided: '#8a6d00' }

export function plot(results: readonly Result[], order: ReadonlyMap<string, string>, title: string): string {
  const parts: string[] = []
  let y = TOP
  for (const result of results) {
    const bars = barsOf(result, order)
    const longest = Math.max(...bars.map(({ value }) => value), 0)
    parts.push(text(16, y + 12, result.name, 'font-weight="600"'), text(16, y + 27, result.unit, 'fill="#667"'))
    const { met, goal } = result
    if (met !== null) parts.push(text(WIDTH - 16, y + 12, `${met} (<= ${goal})`, `text-anchor="end" fill="${VERDICT_COLOURS[met] ?? '#000'}"`))
    bars.forEach(({ label, value }, index) => {
      const width = longest > 0 ? Math.max(1, (Math.max(value, 0) / longest) * BAR_WIDTH) : 1
      const top = y + index * (BAR_HEIGHT + 2)
      parts.push(`<rect x="${LABEL_WIDTH}" y="${top}" width="${width.toFixed(1)}" height="${BAR_HEIGHT}" fill="${COLOURS[Math.min(index, COLOURS.length - 1)] ?? '#999'}"/>`)
      parts.push(text(LABEL_WIDTH + width + 6, top + 12, `${label} ${number(value)}`, ''))
    })
    y += Math.max(bars.length * (BAR_HEIGHT + 2), 30) + ROW_GAP
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" viewBox="0 0 ${WIDTH} ${y}" font-family="system-ui, sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${y}" fill="#fff"/>`,
    text(16, 26, title, 'font-size="15" font-weight="600"'),
    ...parts,
    '</svg>',
    '',
  ].join('\n')
}

function barsOf({ ours, peers }: Result, order: ReadonlyMap<string, string>): { label: string; value: number }[] {
  const others = [...order].flatMap(([id, label]) => (peers[id] === undefined ? [] : [{ label, value: peers[id] }]))
  return [{ label: 'Nearcast', value: ours }, ...others]
}

function text(x: number, y: number, content: string, attributes: string): string {
  return `<text x="${x.toFixed(0)}" y="${y}" ${attributes}>${escape(content)}</text>`
}

function escape(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
