/**
 * Bringing something into force, in the order that never shows a customer an address that nobody serves:
 *   1. committed as provisioning: its agents learn it; wait for them, at most 3 s (a failed one is reported, not waited for)
 *   2. committed as active: every proxy learns it; wait for the connected ones, until 5 s after the start
 * Times are the router's own, from the publication of a revision to its acknowledgement.
 */
import type { WaitResult } from './feed/acknowledgements.ts'
import type { FeedServer } from './feed/feed-server.ts'
import type { Act, Store, StoreTransaction } from './store/store.ts'

const AGENTS_MS = 3000
const TOTAL_MS = 5000

export interface Provisioning {
  readonly revision: number
  readonly ms: number
  readonly agents: readonly ({ readonly id: string; readonly ms: number } | { readonly id: string; readonly error: string })[]
  readonly proxies: readonly { readonly id: string; readonly ms: number }[]
  /** Proxies that haven't acknowledged in time; they will when they can. */
  readonly missing: readonly string[]
}

/** Of what concerns gateways alone. */
export interface GatewayProvisioning extends Pick<Provisioning, 'revision' | 'ms' | 'missing'> {
  readonly gateways: Provisioning['proxies']
}

/** Of what concerns the backbone alone. */
export interface BackboneProvisioning extends Pick<Provisioning, 'revision' | 'ms' | 'missing'> {
  readonly hosts: Provisioning['proxies']
}

type Change = (transaction: StoreTransaction) => void

export class Publisher {
  readonly #store: Store
  readonly #feed: FeedServer

  constructor(store: Store, feed: FeedServer) {
    this.#store = store
    this.#feed = feed
  }

  /** `prepared`: the revision of step 1, just committed. `activate` is step 2; when it can't be committed, `undo` step 1. */
  async bringUp(act: Act, prepared: number, activate: Change, undo: Change): Promise<Provisioning> {
    const startMs = performance.now()
    const agents = await this.#feed.acknowledgements.wait(prepared, 'agent', AGENTS_MS)
    const revision = this.#commit(act, activate, undo)
    const proxies = await this.#feed.acknowledgements.wait(revision, 'proxy', TOTAL_MS - (performance.now() - startMs))
    return {
      revision,
      ms: round(performance.now() - startMs),
      agents: reportOf(agents),
      proxies: timesOf(proxies),
      missing: proxies.missing,
    }
  }

  #commit(act: Act, activate: Change, undo: Change): number {
    try {
      return this.#store.write(act, activate).revision
    } catch (error) {
      // The caller is told that nothing was made, so nothing may stay; on a full disk a removal often still fits.
      this.#store.write({ ...act, what: `${act.what}.undo` }, undo)
      throw error
    }
  }

  /** Until every connected agent and proxy that a change concerns has put it in force, or in time without the missing ones. */
  async inForce(revision: number): Promise<Provisioning> {
    const startMs = performance.now()
    const { acknowledgements } = this.#feed
    const [agents, proxies] = await Promise.all([acknowledgements.wait(revision, 'agent', AGENTS_MS), acknowledgements.wait(revision, 'proxy', TOTAL_MS)])
    return { revision, ms: round(performance.now() - startMs), agents: reportOf(agents), proxies: timesOf(proxies), missing: proxies.missing }
  }

  /** Until every connected gateway has put it in force, or in time without the missing ones. */
  async atGateways(revision: number): Promise<GatewayProvisioning> {
    const startMs = performance.now()
    const gateways = await this.#feed.acknowledgements.wait(revision, 'gateway', TOTAL_MS)
    return { revision, ms: round(performance.now() - startMs), gateways: timesOf(gateways), missing: gateways.missing }
  }

  /** Until every connected host of the backbone has put it in force, or in time without the missing ones. */
  async onBackbone(revision: number): Promise<BackboneProvisioning> {
    const startMs = performance.now()
    const hosts = await this.#feed.acknowledgements.wait(revision, 'backbone', TOTAL_MS)
    return { revision, ms: round(performance.now() - startMs), hosts: timesOf(hosts), missing: hosts.missing }
  }

  /** A program that joined is known to the agents before it starts to dial them. */
  async introduced(revision: number): Promise<void> {
    await this.#feed.acknowledgements.wait(revision, 'agent', AGENTS_MS)
  }
}

function reportOf({ acknowledged, missing }: WaitResult): Provisioning['agents'] {
  return [
    ...acknowledged.map(({ identity, ms, failed }) => {
      const failure = failed[0]
      return failure === undefined ? { id: identity, ms: round(ms) } : { id: identity, error: `${failure.code}: ${failure.message}` }
    }),
    ...missing.map((id) => ({ id, error: `no acknowledgement in ${AGENTS_MS} ms` })),
  ]
}

function timesOf({ acknowledged }: WaitResult): Provisioning['proxies'] {
  return acknowledged.map(({ identity, ms }) => ({ id: identity, ms: round(ms) }))
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10
}
