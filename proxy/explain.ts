/**
 * Why a connection would go where it goes: the same table, decision and order that the data path uses, without a side
 * effect. Answers the router's question `explain`.
 */
import { z } from 'zod'
import { isIpv6Text, machineAddress, asNetworkId, parseIpv6 } from '../lib/address.ts'
import type { Ipv6, NetworkId } from '../lib/address.ts'
import { NearcastError } from '../lib/errors.ts'
import type { Limits } from '../lib/feed/messages.ts'
import type { DenyReason } from '../lib/isolation.ts'
import { nameNetwork } from './journal.ts'
import type { Admissions, Place } from './limits/admissions.ts'
import { namesOf } from './limits/admissions.ts'
import type { LimitUse } from './limits/limits.ts'
import type { Ranked, Tier } from './nearest/choose.ts'
import { clearlyBetter } from './nearest/choose.ts'
import type { ChooseSettings } from './nearest/choose.ts'
import type { Nearest, Standing } from './nearest/nearest.ts'
import type { Decision } from './decision.ts'
import type { RouteSource } from './routes.ts'

const ipv6 = z.string().max(39).refine(isIpv6Text, 'must be an IPv6 address')

/** One of `source` and `network` says who asks; with a network alone it is any machine of it. */
export const explainParams = z.object({ source: ipv6.nullish(), network: z.int().min(1).max(0xffff_ffff).nullish(), destination: ipv6 })

export interface ExplainedCandidate {
  readonly node: string
  readonly region: string
  readonly role: 'primary' | 'replica' | 'peer'
  readonly latencyMs: number | null
  readonly connectMs: number | null
  readonly healthy: boolean
  readonly available: boolean
  /** Why it isn't among the well ones. */
  readonly reason?: string
  /** Open connections through this proxy; `load` counts everybody's, as far as known. */
  readonly connections: number
  readonly load: number
  readonly score: number | null
  /** 1 is tried first. */
  readonly rank: number
}

export interface ExplainReport {
  readonly proxy: string
  readonly revision: number
  readonly verdict: {
    readonly allowed: boolean
    readonly reason?: DenyReason
    readonly sourceNetwork?: NetworkId | null
    readonly network?: NetworkId
  }
  /** Id of the service, its name and port. */
  readonly service?: string
  readonly name?: string
  readonly port?: number
  /** Of the address and of its network, as this proxy counts them; absent without limits. */
  readonly limits?: { readonly address?: ExplainedLimits; readonly network?: ExplainedLimits; readonly waiting: number }
  readonly candidates: readonly ExplainedCandidate[]
  readonly chosen?: string
  readonly why: string
}

export type ExplainedLimits = Limits & { readonly connections: number }

export interface ExplainSources {
  readonly proxy: string
  readonly revision: number
  readonly prefix: number
  readonly routes: Pick<RouteSource, 'find' | 'decide'>
  readonly nearest: Pick<Nearest, 'order' | 'present'>
  readonly settings: ChooseSettings
  readonly limits: { use(name: string): LimitUse | null }
  readonly admissions: Pick<Admissions, 'hasItsShare' | 'waitingAt'>
}

/** @throws NearcastError address.invalid, network.missing */
export function explain(params: unknown, sources: ExplainSources): ExplainReport {
  const parsed = explainParams.safeParse(params)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw new NearcastError('address.invalid', `explain: ${issue?.path.join('.') ?? ''} ${issue?.message ?? 'is invalid'}.`, { side: 'client' })
  }
  const { proxy, revision, prefix, routes } = sources
  const destination = parseIpv6(parsed.data.destination)
  const source = sourceOf(parsed.data.source ?? null, parsed.data.network ?? null, prefix)
  // Any port of an unknown address is refused alike; of a known one its own port is meant.
  const decision = routes.decide(source, destination, routes.find(destination)?.port ?? 0)
  if (!decision.allowed) return { proxy, revision, verdict: denial(decision), candidates: [], why: whyDenied(decision, prefix) }
  const { service, name, port, network, address } = decision.route
  const place = { address, network }
  const order = [...sources.nearest.order(service, (node, nodes) => sources.admissions.hasItsShare(place, node, nodes))]
  const limits = limitsOf(place, sources)
  const [first] = order
  return {
    proxy,
    revision,
    verdict: { allowed: true, sourceNetwork: decision.shadowed ? decision.shadowed.sourceNetwork : network, network, ...(decision.shadowed && { reason: decision.shadowed.reason }) },
    service,
    name,
    port,
    ...(limits && { limits }),
    candidates: order.map((ranked, index) => candidateOf(ranked, index + 1)),
    ...(first && { chosen: first.contender.node }),
    why: [...(decision.shadowed ? [`Shadow mode: the rule says ${decision.shadowed.reason}, and the connection is carried and logged.`] : []), whyChosen(order, sources.nearest.present(service), sources.settings), ...whyLimited(limits)].join(' '),
  }
}

function limitsOf(place: Place, { limits, admissions }: ExplainSources): ExplainReport['limits'] {
  const [address, network] = namesOf(place).map((name) => limits.use(name))
  if (!address && !network) return undefined
  return { ...(address && { address: used(address) }), ...(network && { network: used(network) }), waiting: admissions.waitingAt(place) }
}

function used({ limits, connections }: LimitUse): ExplainedLimits {
  return { ...limits, connections }
}

function whyLimited(limits: ExplainReport['limits']): string[] {
  return (['address', 'network'] as const).flatMap((whose) => {
    const { maxConnections = Infinity, connections = 0 } = limits?.[whose] ?? {}
    if (connections < maxConnections) return []
    return [`The ${whose} has ${connections} of ${maxConnections} connections: a new one waits briefly for one of them to end, and is then reset.`]
  })
}

function sourceOf(source: string | null, network: number | null, prefix: number): Ipv6 {
  if (source !== null) return parseIpv6(source)
  if (network === null) throw new NearcastError('network.missing', 'explain needs the source address or its network; name one.', { side: 'client' })
  return machineAddress(asNetworkId(network), 2, 0, 2, prefix)
}

type Denied = Extract<Decision, { allowed: false }>

function denial({ reason, sourceNetwork, network }: Denied): ExplainReport['verdict'] {
  return { allowed: false, reason, ...(sourceNetwork !== null && { sourceNetwork }), ...(network !== null && { network }) }
}

function whyDenied({ reason, sourceNetwork, network }: Denied, prefix: number): string {
  const source = nameNetwork(sourceNetwork, prefix)
  const owner = nameNetwork(network, prefix)
  const reasons: Record<DenyReason, string> = {
    'not-flycast': 'The destination is not a Flycast address',
    'outside-plan': 'The source is no machine of a network',
    'foreign-network': `The source is in ${source}, the address in ${owner}`,
    'unknown-address': `No such address is in force in ${owner}`,
  }
  return `${reasons[reason]}; the connection is reset before anything is dialled or read.`
}

function candidateOf({ contender, score }: Ranked<Standing>, rank: number): ExplainedCandidate {
  const { node, role, known, latencyMs, healthy, available, reason, load } = contender
  const { region } = known.row
  const connectMs = known.connect.smoothedMs
  return {
    node,
    region,
    role,
    latencyMs: rounded(latencyMs),
    connectMs: rounded(connectMs),
    healthy,
    available,
    ...(reason !== null && { reason }),
    connections: known.connections,
    load,
    score: rounded(score),
    rank,
  }
}

const TIER_WORDS: Record<Tier, string> = {
  good: 'well',
  busy: 'busy',
  suspect: 'suspect',
  unproven: 'not proven yet',
  draining: 'draining',
  unhealthy: 'unhealthy',
  unavailable: 'without this service at the moment',
}

function whyChosen(order: readonly Ranked<Standing>[], present: string | null, settings: ChooseSettings): string {
  const [first, ...others] = order
  if (!first) return 'No node holds this service; the connection is reset.'
  const passed = others.filter(({ tier, contender }) => tier !== 'good' && tier !== first.tier && contender.reason !== null)
  return [
    first.tier === 'good' ? whyFirst(first, others, present, settings) : `${describe(first)} is tried although it is ${TIER_WORDS[first.tier]}: no better node is left.`,
    ...passed.map((ranked) => `${describe(ranked)} is ${TIER_WORDS[ranked.tier]} (${ranked.contender.reason}).`),
  ].join(' ')
}

function whyFirst(first: Ranked<Standing>, others: readonly Ranked<Standing>[], present: string | null, settings: ChooseSettings): string {
  const well = others.filter(({ tier }) => tier === 'good')
  const [next] = well
  if (!next) return `${describe(first)} is the only well node that holds this service.`
  const better = well.find(({ score }) => (score ?? 0) < (first.score ?? 0))
  if (better && first.contender.node === present && !clearlyBetter(better.score ?? 0, first.score ?? 0, settings)) {
    const { hysteresisPercent, hysteresisMs } = settings
    return `${describe(first)} was chosen before and stays: ${describe(better)} is not better by ${hysteresisPercent} % and ${hysteresisMs} ms.`
  }
  return `${describe(first)} is the nearest well node; next is ${describe(next)}.`
}

function describe({ contender, score }: Ranked<Standing>): string {
  const { node, known, latencyMs, load } = contender
  if (latencyMs === null) return `${node} (${known.row.region})`
  const weighed = load > 0 && score !== null ? `, ${rounded(score)} ms with its load of ${load}` : ''
  return `${node} (${known.row.region}, ${rounded(latencyMs)} ms${weighed})`
}

function rounded(ms: number | null): number | null {
  return ms === null ? null : Math.round(ms * 100) / 100
}
