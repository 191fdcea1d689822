/**
 * Who is next: orders the nodes that hold a service, best first. Pure; what is random comes in as a number per node.
 *
 * 1. Tier: well; well but carrying its share of a soft limit; suspect (its last connection failed); unproven (never measured,
 *    or no session with it yet); draining; unwell; its agent says that this service doesn't answer there. The last ones are
 *    still tried in the end: a wrong verdict costs time, it never refuses a client.
 * 2. Score: smoothed latency, raised softly by load, so that a busy node counts as at most twice as far (+ 1 ms).
 * 3. Hysteresis: the node chosen last for this service stays first unless the best one is better by both settings.
 * 4. Nothing measured yet: own host, own region, elsewhere.
 * 5. Scores that are equal to a tenth of a millisecond: the smaller tie number.
 */
export interface Contender {
  readonly node: string
  /** Smoothed; null: never measured. */
  readonly latencyMs: number | null
  /** A signed hop needs an open session; others always have one. */
  readonly session: boolean
  /** 0: on our host, 1: in our region, 2: elsewhere. What to go by while nothing is measured. */
  readonly distance: number
  readonly healthy: boolean
  /** Whether its agent says that this service answers there. */
  readonly available: boolean
  /** An operator has asked that nobody new goes there. */
  readonly draining?: boolean
  /** It carries its share of a soft limit of this address or network. */
  readonly busy?: boolean
  /** Its last connection failed, and it hasn't answered since (suspicions.ts). */
  readonly suspect?: boolean
  /** Connections that it carries: ours or reported, whichever is more. */
  readonly load: number
  /** Breaks ties; random, but the same until the node is forgotten. */
  readonly tie: number
}

export interface ChooseSettings {
  readonly hysteresisPercent: number
  readonly hysteresisMs: number
}

export interface Ranked<C extends Contender = Contender> {
  readonly contender: C
  readonly tier: Tier
  /** Milliseconds; null without a latency. */
  readonly score: number | null
}

export type Tier = 'good' | 'busy' | 'suspect' | 'unproven' | 'draining' | 'unhealthy' | 'unavailable'
const TIERS: readonly Tier[] = ['good', 'busy', 'suspect', 'unproven', 'draining', 'unhealthy', 'unavailable']

/** This many connections raise a score by half of what load can raise it. */
const HALF_LOAD = 200
const RESOLUTION_MS = 0.1

/** @param present the node chosen last for this service, if any. The first one yielded is the choice. */
export function* choose<C extends Contender>(contenders: readonly C[], present: string | null, settings: ChooseSettings): Generator<Ranked<C>> {
  const ranked = contenders.map(rank)
  const first = pick(ranked, present, settings)
  if (!first) return
  yield first
  // Only a connection whose first node failed pays for the order of the rest.
  const rest = ranked.filter((entry) => entry !== first)
  yield* rest.toSorted(compare)
}

function pick<C extends Contender>(ranked: readonly Ranked<C>[], present: string | null, settings: ChooseSettings): Ranked<C> | null {
  let best: Ranked<C> | null = null
  for (const entry of ranked) if (best === null || compare(entry, best) < 0) best = entry
  const kept = ranked.find((entry) => entry.contender.node === present)
  if (!kept || best?.tier !== 'good' || kept.tier !== 'good') return best
  return clearlyBetter(best.score ?? 0, kept.score ?? 0, settings) ? best : kept
}

/** Better by the share AND by the milliseconds. */
export function clearlyBetter(scoreMs: number, thanMs: number, settings: ChooseSettings): boolean {
  return thanMs - scoreMs > settings.hysteresisMs && scoreMs < thanMs * (1 - Math.min(settings.hysteresisPercent, 100) / 100)
}

/** Smoothed latency and load as one number of milliseconds. */
export function score(latencyMs: number, load: number): number {
  return latencyMs + (latencyMs + 1) * (load / (load + HALF_LOAD))
}

function rank<C extends Contender>(contender: C): Ranked<C> {
  const { latencyMs, load } = contender
  return { contender, tier: tierOf(contender), score: latencyMs === null ? null : score(latencyMs, load) }
}

function tierOf({ healthy, available, session, latencyMs, draining = false, busy = false, suspect = false }: Contender): Tier {
  if (!available) return 'unavailable'
  if (!healthy) return 'unhealthy'
  if (draining) return 'draining'
  if (latencyMs === null || !session) return 'unproven'
  if (suspect) return 'suspect'
  return busy ? 'busy' : 'good'
}

function compare(left: Ranked, right: Ranked): number {
  return TIERS.indexOf(left.tier) - TIERS.indexOf(right.tier) || step(left) - step(right) || guess(left) - guess(right) || left.contender.tie - right.contender.tie
}

/** Only without a score: a measured one knows better. */
function guess({ score: scoreMs, contender }: Ranked): number {
  return scoreMs === null ? contender.distance : 0
}

/** The score in steps of the resolution, so that noise doesn't decide between equals; without a score after all others. */
function step({ score: scoreMs }: Ranked): number {
  return scoreMs === null ? Number.MAX_SAFE_INTEGER : Math.round(scoreMs / RESOLUTION_MS)
}
