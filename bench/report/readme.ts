/** Puts the last run into bench/README.md, between its markers, and the plot beside it. */
import { readFileSync, writeFileSync } from 'node:fs'

const README = new URL('../README.md', import.meta.url)
const BEGIN = '<!-- results: written by npm run bench -- proxy --write -->'
const END = '<!-- /results -->'

export function writeResults(markdown: string, svg: string): void {
  writeFileSync(new URL('../proxy.svg', import.meta.url), svg)
  writeFileSync(README, between(readFileSync(README, 'utf8'), markdown))
}

/** @throws Error when the markers are gone: nothing is overwritten by guess. */
export function between(document: string, content: string): string {
  const [begin, end] = [document.indexOf(BEGIN), document.indexOf(END)]
  if (begin < 0 || end < begin) throw new Error('README.md has lost its markers for results')
  return `${document.slice(0, begin + BEGIN.length)}\n\n${content}\n\n${document.slice(end)}`
}
