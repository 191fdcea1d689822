/** Puts the last run into bench/README.md and the project's own, between their markers, and the plot beside the former. */
import { readFileSync, writeFileSync } from 'node:fs'

const README = new URL('../README.md', import.meta.url)
const FIRST_README = new URL('../../README.md', import.meta.url)
const PROXY: Markers = { begin: '<!-- results: written by npm run bench -- proxy --write -->', end: '<!-- /results -->' }
const DATABASES: Markers = { begin: '<!-- databases: written by npm run bench -- redis --write -->', end: '<!-- /databases -->' }

interface Markers {
  readonly begin: string
  readonly end: string
}

/** `short`: for a reader who wants to know only how it compares. */
export function writeResults(markdown: string, short: string, svg: string): void {
  writeFileSync(new URL('../proxy.svg', import.meta.url), svg)
  writeFileSync(README, between(readFileSync(README, 'utf8'), markdown))
  writeFileSync(FIRST_README, between(readFileSync(FIRST_README, 'utf8'), short))
}

export function writeDatabases(markdown: string): void {
  writeFileSync(README, between(readFileSync(README, 'utf8'), markdown, DATABASES))
}

/** @throws Error when the markers are gone: nothing is overwritten by guess. */
export function between(document: string, content: string, markers: Markers = PROXY): string {
  const [begin, end] = [document.indexOf(markers.begin), document.indexOf(markers.end)]
  if (begin < 0 || end < begin) throw new Error('README.md has lost its markers for results')
  return `${document.slice(0, begin + markers.begin.length)}\n\n${content}\n\n${document.slice(end)}`
}
