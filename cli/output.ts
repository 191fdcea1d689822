/**
 * What people and programs read: tables and colours on a terminal, one JSON value with --json.
 * The only importer of the table and colour packages.
 */
import Table from 'cli-table3'
import colours from 'picocolors'

export { colours }

export type Cell = string | number | boolean | null | undefined

export interface Output {
  readonly json: boolean
  /** A value for programs, or lines for people; `lines` is asked only when it is shown. */
  show(value: unknown, lines: () => string | readonly string[]): void
  /** Progress and hints: standard error, and never with --json. */
  hint(line: string): void
}

export function createOutput(json: boolean, stdout: NodeJS.WritableStream = process.stdout, stderr: NodeJS.WritableStream = process.stderr): Output {
  return {
    json,
    show(value, lines) {
      const text = json ? JSON.stringify(value) : [lines()].flat().join('\n')
      stdout.write(`${text}\n`)
    },
    hint(line) {
      if (!json) stderr.write(`${line}\n`)
    },
  }
}

/** Columns without lines between them, as the field's tools print them; an empty table says so. */
export function table(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  if (rows.length === 0) return colours.dim('none')
  const made = new Table({
    head: head.map((title) => colours.bold(title.toUpperCase())),
    chars: { top: '', 'top-mid': '', 'top-left': '', 'top-right': '', bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '', left: '', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: '  ' },
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
  })
  for (const row of rows) made.push(row.map((cell) => (cell === null || cell === undefined ? '-' : String(cell))))
  return made.toString().replaceAll(/ +$/gm, '')
}

/** Two columns: what and its value. */
export function facts(pairs: readonly (readonly [string, Cell])[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length))
  return pairs.map(([name, value]) => `${colours.dim(name.padEnd(width))}  ${value ?? '-'}`).join('\n')
}

export function milliseconds(value: number | null | undefined): string {
  if (value === null || value === undefined) return '-'
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`
}
