/** Results as a table: for a terminal (padded) and for a README (Markdown). Pure. */
import type { Machine } from '../machine.ts'
import type { Result } from '../runner.ts'

/** `order`: the other programs' ids and labels. */
export function cells(results: readonly Result[], order: ReadonlyMap<string, string>): string[][] {
  const columns = [...order].filter(([id]) => results.some(({ peers }) => id in peers))
  const head = ['scenario', 'unit', 'Nearcast', ...columns.map(([, label]) => label), 'ratio', '95 % interval', 'goal', 'verdict']
  const body = results.map(({ name, unit, ours, peers, ratio, interval, goal, met, against }) => [
    name,
    unit,
    number(ours),
    ...columns.map(([id]) => number(peers[id])),
    ratio === null ? '-' : `${number(ratio)} of ${rival(against, order)}`,
    interval === null ? '-' : `${number(interval[0])} - ${number(interval[1])}`,
    goal === null ? '-' : `<= ${goal}`,
    met ?? '-',
  ])
  return [head, ...body]
}

/** Of `cells`, what a reader needs who won't run it: ours, the two that everybody knows, and the verdict. */
export function shortened(table: readonly (readonly string[])[]): string[][] {
  const wanted = ['scenario', 'unit', 'Nearcast', 'HAProxy', 'nginx stream', 'ratio', 'goal', 'verdict']
  const columns = wanted.map((name) => table[0]?.indexOf(name) ?? -1).filter((column) => column >= 0)
  return table.map((row) => columns.map((column) => row[column] ?? ''))
}

export function padded(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ').trimEnd()).join('\n')
}

export function markdown([head = [], ...body]: readonly (readonly string[])[]): string {
  return [line(head), line(head.map(() => '---')), ...body.map(line)].join('\n')
}

const line = (row: readonly string[]): string => `| ${row.join(' | ')} |`

export function described({ cpu, cores, memoryGb, kernel, node, loadAverage, versions }: Machine, rounds: number): string {
  const programs = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
  return `${cpu}, ${cores} cores, ${memoryGb} GB, Linux ${kernel}, Node ${node}; ${programs.join(', ')}. Up to ${rounds} interleaved rounds; load average at the start ${loadAverage.toFixed(1)}.`
}

function rival(against: Result['against'], order: ReadonlyMap<string, string>): string {
  if (typeof against === 'number') return String(against)
  const labels = against.map((id) => order.get(id) ?? id)
  return labels.length > 1 ? `the better of ${labels.join(' and ')}` : (labels[0] ?? '')
}

/** Three digits that count. */
export function number(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return '-'
  if (!Number.isFinite(value)) return 'infinite'
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2
  return value.toFixed(digits)
}
