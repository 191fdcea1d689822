/**
 * What people and programs read: tables and colours on a terminal, one JSON value with --json.
 * The only importer of the package for tables.
 */
import { stripVTControlCharacters } from 'node:util'
import Table from 'cli-table3'
import { colours } from './colours.ts'

/** Between columns. */
const GAP = 2
const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB']

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

/** A terminal's lines are broken between words, so that columns stay columns; elsewhere they are as long as they are. */
function lineWidth(): number {
  return process.stdout.isTTY ? process.stdout.columns : Number.POSITIVE_INFINITY
}

/** Columns without lines between them, as the field's tools print them; an empty table says so. */
export function table(head: readonly string[], rows: readonly (readonly Cell[])[], width = lineWidth()): string {
  if (rows.length === 0) return colours.dim('none')
  const texts = rows.map((row) => row.map((cell) => (cell === null || cell === undefined ? '-' : String(cell))))
  const made = new Table({
    head: head.map((title) => colours.bold(title.toUpperCase())),
    chars: { top: '', 'top-mid': '', 'top-left': '', 'top-right': '', bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '', left: '', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: ' '.repeat(GAP) },
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
    colWidths: columnWidths([head, ...texts], width),
    wordWrap: true,
  })
  made.push(...texts)
  return made.toString().replaceAll(/ +$/gm, '')
}

/** Those that the texts need; where they are too many, the widest become narrower, but no word is cut. */
function columnWidths(lines: readonly (readonly string[])[], width: number): number[] {
  const places = Array.from({ length: Math.max(...lines.map((line) => line.length)) }, (_, column) => lines.map((line) => stripVTControlCharacters(line[column] ?? '')))
  const widths = places.map((texts) => Math.max(...texts.map((text) => text.length)))
  const longestWords = places.map((texts) => Math.max(...texts.flatMap((text) => text.split(' ').map((word) => word.length))))
  for (let excess = sum(widths) + GAP * (widths.length - 1) - width; excess > 0; excess--) {
    const wide = widths.map((each, column) => ({ each, column })).filter(({ each, column }) => each > (longestWords[column] ?? 0))
    const [widest] = wide.toSorted((a, b) => b.each - a.each)
    if (widest === undefined) break
    widths[widest.column] = widest.each - 1
  }
  return widths
}

/** Two columns: what and its value. */
export function facts(pairs: readonly (readonly [string, Cell])[], width = lineWidth()): string {
  const indent = Math.max(...pairs.map(([name]) => name.length)) + GAP
  return pairs.flatMap(([name, value]) => broken(String(value ?? '-'), width - indent).map((line, index) => (index === 0 ? colours.dim(name.padEnd(indent)) : ' '.repeat(indent)) + line)).join('\n')
}

/** Between words; a longer word has a line of its own. */
function broken(text: string, width: number): string[] {
  const [first = '', ...words] = text.split(' ')
  const lines = [first]
  for (const word of words) {
    const line = `${lines.at(-1)} ${word}`
    if (stripVTControlCharacters(line).length <= width) lines[lines.length - 1] = line
    else lines.push(word)
  }
  return lines
}

/** `104857600` is 100 MiB. */
export function bytes(value: number): string {
  const power = value < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(value) / 10))
  const scaled = value / 1024 ** power
  return `${scaled >= 100 ? Math.round(scaled) : Number(scaled.toPrecision(3))} ${UNITS[power]}`
}

/** `count(1, 'proxy', 'proxies')` */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0)
}

export function milliseconds(value: number | null | undefined): string {
  if (value === null || value === undefined) return '-'
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`
}
