/** A report for a terminal. Pure. */
import { colours } from '../colours.ts'
import { table } from '../output.ts'
import type { Cell } from '../output.ts'
import type { CheckReport } from './check.ts'
import type { Judged } from './judge.ts'

const MARKS: Readonly<Record<Judged['verdict'], () => string>> = {
  ok: () => colours.green('ok'),
  tolerated: () => colours.yellow('tolerated'),
  fails: () => colours.red('fails'),
  skipped: () => colours.dim('skipped'),
}

const DEMANDS: Readonly<Record<Judged['demand'], string>> = {
  accept: 'accept',
  'may-accept': 'accept, or refuse',
  refuse: 'refuse',
  'may-refuse': 'refuse, or be lenient',
  withhold: 'say nothing yet',
  payload: 'hand it on',
}

export function checkLines(report: CheckReport): string[] {
  const { cases, finding, passed, counts, speaks } = report
  const shown = cases.filter(({ verdict }) => verdict !== 'skipped')
  const failing = shown.filter(({ verdict }) => verdict === 'fails')
  const skipped = counts.skipped === 0 ? '' : `, ${counts.skipped} skipped`
  return [
    table(['case', 'what is sent', 'section', 'it should', 'seen', 'verdict'], shown.map(row)),
    '',
    ...(speaks.length === 0 ? [] : failing.map(({ id, todo = '' }) => `${colours.yellow('→')} ${id}: ${todo}`)),
    (passed ? colours.green : colours.red)(finding),
    `${counts.ok} ok, ${counts.tolerated} tolerated, ${counts.fails} failing${skipped}. Sections: https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt`,
  ]
}

function row({ id, title, section, demand, seen, verdict, known }: Judged): Cell[] {
  return [id, known === undefined ? title : `${title} (${known})`, section, DEMANDS[demand], seen, MARKS[verdict]()]
}
