/** What was seen, held against what is demanded. Pure. */
import type { CheckCase, Demand } from './case.ts'
import type { Seen } from './exchange.ts'

/** tolerated: allowed, or lenient without harm; skipped: of a version that the receiver doesn't speak. */
export type Verdict = 'ok' | 'tolerated' | 'fails' | 'skipped'

export interface Judged {
  readonly id: string
  readonly title: string
  readonly version: 1 | 2 | null
  readonly section: string
  readonly demand: Demand
  readonly verdict: Verdict
  /** For people. */
  readonly seen: string
  /** As in exchange.ts; null when it was skipped. */
  readonly outcome: Seen['what'] | null
  readonly ms: number | null
  readonly known?: string
  /** Only where it fails. */
  readonly todo?: string
}

type Rule = Readonly<Record<Exclude<Seen['what'], 'other' | 'unreachable'>, Verdict>>

const RULES: Readonly<Record<Demand, Rule>> = {
  accept: { answered: 'ok', closed: 'fails', reset: 'fails', silent: 'fails' },
  'may-accept': { answered: 'ok', closed: 'tolerated', reset: 'tolerated', silent: 'tolerated' },
  // Silent: it lets nothing through, and may abort later.
  refuse: { answered: 'fails', closed: 'ok', reset: 'ok', silent: 'tolerated' },
  'may-refuse': { answered: 'tolerated', closed: 'ok', reset: 'ok', silent: 'tolerated' },
  withhold: { answered: 'fails', closed: 'ok', reset: 'ok', silent: 'ok' },
  payload: { answered: 'fails', closed: 'ok', reset: 'ok', silent: 'ok' },
}

const UNREACHABLE = 'Look whether the receiver crashed on this case or one sent at the same time, or limits connections.'

export function judge(each: CheckCase, seen: Seen): Judged {
  const { id, title, version, section, demand, known, todo } = each
  const verdict = verdictOn(demand, seen)
  return {
    id,
    title,
    version,
    section,
    demand,
    verdict,
    outcome: seen.what,
    ms: seen.ms,
    seen: describe(seen),
    ...(known !== undefined && { known }),
    ...(verdict === 'fails' && { todo: seen.what === 'unreachable' ? UNREACHABLE : todo }),
  }
}

export function skip({ id, title, version, section, demand, known }: CheckCase): Judged {
  return { id, title, version, section, demand, verdict: 'skipped', outcome: null, ms: null, seen: `version ${version} isn't spoken`, ...(known !== undefined && { known }) }
}

function verdictOn(demand: Demand, { what, ended }: Seen): Verdict {
  if (what === 'unreachable') return 'fails'
  if (what !== 'other') return RULES[demand][what]
  // Bytes of the header, or behind a bad one, reached the application; but some say why before they close.
  if (demand === 'payload') return 'ok'
  return ended && (demand === 'refuse' || demand === 'may-refuse') ? 'tolerated' : 'fails'
}

function describe({ what, text, ms }: Seen): string {
  if (what === 'answered') return 'payload answered'
  if (what === 'other') return `answered ${quoted(text.length > 40 ? `${text.slice(0, 40)}…` : text)}`
  if (what === 'silent') return `nothing within ${ms} ms`
  return what === 'unreachable' ? `no connection: ${text}` : what
}

/** The receiver is a stranger: nothing that it says may steer a terminal. JSON leaves DEL and the controls above it. */
function quoted(text: string): string {
  return JSON.stringify(text).replaceAll(/[\x7f-\x9f]/g, (control) => `\\u00${control.charCodeAt(0).toString(16)}`)
}
