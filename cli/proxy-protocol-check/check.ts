/**
 * Asks a receiver every case and judges its answers. First whether there is a receiver, then which versions it speaks, then
 * the rest, a bounded number of connections at a time; at last whether it still serves.
 */
import { NearcastError } from '../../lib/errors.ts'
import type { CheckCase } from './case.ts'
import { BASIC, CASES, NO_HEADER } from './cases.ts'
import type { Conversation } from './conversation.ts'
import { exchange } from './exchange.ts'
import type { Judged } from './judge.ts'
import { judge, skip } from './judge.ts'
import type { Receiver } from './receiver.ts'

export interface CheckOptions {
  readonly receiver: Receiver
  /** As the user wrote it. */
  readonly name: string
  readonly conversation: Conversation
  readonly versions: readonly (1 | 2)[]
  readonly timeoutMs: number
  /** At the same time. */
  readonly connections: number
  /** Also the cases that take seconds. */
  readonly slow: boolean
  readonly progress: (line: string) => void
}

export interface CheckReport {
  readonly receiver: string
  readonly conversation: string
  /** Versions that it speaks, of those that were asked for. */
  readonly speaks: readonly (1 | 2)[]
  readonly passed: boolean
  /** One sentence. */
  readonly finding: string
  readonly counts: { readonly ok: number; readonly tolerated: number; readonly fails: number; readonly skipped: number }
  readonly cases: readonly Judged[]
}

/** After connecting, before going away again: a receiver need not say anything. */
const LOOK_MS = 100

/** @throws NearcastError receiver.unreachable */
export async function check(options: CheckOptions): Promise<CheckReport> {
  const { versions, conversation, slow } = options
  await reach(options)
  // A server that speaks first would answer whatever stands behind the first header.
  const sensible = (each: CheckCase): boolean => each.demand !== 'payload' || conversation.payload.length > 0
  const asked = (each: CheckCase): boolean => (each.version === null || versions.includes(each.version)) && (slow || each.slow !== true)
  const wanted = CASES.filter((each) => asked(each) && sensible(each))
  const first = wanted.filter((each) => each === NO_HEADER || BASIC.has(each.id))
  const judged = new Map<string, Judged>()
  await run(options, first, judged)
  const speaks = versions.filter((version) => [...judged.values()].some((each) => each.version === version && each.verdict === 'ok'))
  // Either version is enough (section 2), unless one was asked for.
  const missing = versions.filter((version) => !speaks.includes(version))
  if (speaks.length > 0) {
    for (const each of wanted) if (each.version !== null && missing.includes(each.version)) judged.set(each.id, skip(each))
    const rest = wanted.filter((each) => !judged.has(each.id))
    options.progress(`speaks version ${speaks.join(' and ')}; ${rest.length} more cases`)
    await run(options, rest, judged)
    const again = CASES.find((each) => judged.get(each.id)?.verdict === 'ok' && BASIC.has(each.id))
    if (again !== undefined) await run(options, [afterwards(again)], judged)
  }
  const cases = [...wanted.map(({ id }) => judged.get(id)), judged.get('afterwards')].filter((each) => each !== undefined)
  const count = (verdict: Judged['verdict']): number => cases.filter((each) => each.verdict === verdict).length
  const counts = { ok: count('ok'), tolerated: count('tolerated'), fails: count('fails'), skipped: count('skipped') }
  const passed = speaks.length > 0 && counts.fails === 0
  return { receiver: options.name, conversation: conversation.name, speaks, passed, finding: finding(options, speaks, counts.fails, cases), counts, cases }
}

function afterwards(basic: CheckCase): CheckCase {
  const todo = 'Find the case that stopped it: run one version at a time, with --connections 1.'
  return { ...basic, id: 'afterwards', title: 'still serves afterwards', todo }
}

async function reach({ receiver, name, timeoutMs }: CheckOptions): Promise<void> {
  const seen = await exchange({ receiver, parts: ['end'], isAnswer: () => true, timeoutMs: LOOK_MS, connectTimeoutMs: timeoutMs })
  if (seen.what !== 'unreachable') return
  const failure = { side: 'upstream', retryable: true } as const
  const why = seen.text === 'ECONNREFUSED' ? 'the connection is refused' : seen.text === 'ENOTFOUND' ? 'the name is unknown' : seen.text
  throw new NearcastError('receiver.unreachable', `${name} can't be reached (${why}); check address and port, and that the receiver runs.`, failure)
}

async function run(options: CheckOptions, cases: readonly CheckCase[], judged: Map<string, Judged>): Promise<void> {
  const { receiver, conversation, timeoutMs, connections, progress } = options
  const left = [...cases]
  const work = async (): Promise<void> => {
    for (let each = left.shift(); each !== undefined; each = left.shift()) {
      const parts = each.parts(conversation.payload).filter((part) => typeof part !== 'object' || part.length > 0)
      const result = judge(each, await exchange({ receiver, parts, isAnswer: conversation.isAnswer, timeoutMs }))
      judged.set(each.id, result)
      if (result.verdict === 'fails') progress(`${each.id} fails`)
    }
  }
  await Promise.all(Array.from({ length: Math.min(connections, cases.length) }, work))
}

function finding({ conversation, versions }: CheckOptions, speaks: readonly number[], fails: number, cases: readonly Judged[]): string {
  if (speaks.length > 0) {
    const spoken = `It speaks version ${speaks.join(' and ')} of the PROXY protocol`
    const lacking = versions.length > speaks.length ? ' only' : ''
    return fails === 0 ? `${spoken}${lacking} and does what the specification demands.` : `${spoken}${lacking}; ${fails} ${fails === 1 ? 'case fails' : 'cases fail'}.`
  }
  if (cases.find(({ id }) => id === NO_HEADER.id)?.outcome === 'answered') {
    return (
      'It does not speak the PROXY protocol on this port: it answers without a header, and takes headers for payload or refuses them. ' +
      'Put something before it that reads them (HAProxy: accept-proxy, nginx: listen … proxy_protocol, Nearcast: an agent), or send it none.'
    )
  }
  const expected = conversation.expected
  return `It answers neither with a header nor without one as expected (${expected}): check --speaks, --payload and --expect, and that it takes headers from this host.`
}
