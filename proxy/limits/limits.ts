/**
 * The limits in force, as the feed's rows say: counts and queues (admissions.ts) and the plane's byte rates, both under
 * the same names. Each proxy counts its own connections and bytes; there is no common account.
 */
import type { Limits as LimitsRow } from '../../lib/feed/messages.ts'
import type { Plane, RateWaits } from '../../lib/plane/plane.ts'
import type { Place } from './admissions.ts'
import { addressName, networkName } from './admissions.ts'
import type { Turnstile } from './turnstile.ts'

export interface LimitRows {
  readonly networks: ReadonlyMap<number, { readonly id: number; readonly limits?: LimitsRow | undefined }>
  readonly addresses: ReadonlyMap<string, Place & { readonly limits?: LimitsRow | undefined }>
}

export interface LimitsOptions {
  readonly turnstile: Turnstile
  readonly plane: Pick<Plane, 'setRate' | 'rateWaits'>
  readonly now: () => number
}

/** One set of limits and how much of it is used. */
export interface LimitUse {
  readonly limits: LimitsRow
  readonly connections: number
  readonly rateWaits: RateWaits
}

interface Entry {
  readonly place: Place | null
  readonly network: number
  readonly limits: LimitsRow
}

export class Limits {
  readonly #options: LimitsOptions
  readonly #entries = new Map<string, Entry>()

  constructor(options: LimitsOptions) {
    this.#options = options
  }

  /** Makes the limits exactly these. */
  replace({ networks, addresses }: LimitRows): void {
    const kept = new Set([...[...networks.keys()].map(networkName), ...[...addresses.keys()].map(addressName)])
    for (const [name, { place, network }] of this.#entries) {
      if (kept.has(name)) continue
      if (place) this.putAddress(place, undefined)
      else this.putNetwork(network, undefined)
    }
    for (const { id, limits } of networks.values()) this.putNetwork(id, limits)
    for (const row of addresses.values()) this.putAddress(row, row.limits)
  }

  putNetwork(network: number, limits: LimitsRow | undefined): void {
    const { turnstile, now } = this.#options
    if (!this.#put(networkName(network), { place: null, network }, limits)) return
    turnstile.admissions.setNetwork(network, limits, now())
    turnstile.changed()
  }

  putAddress({ address, network }: Place, limits: LimitsRow | undefined): void {
    const { turnstile, now } = this.#options
    const place = { address, network }
    if (!this.#put(addressName(address), { place, network }, limits)) return
    turnstile.admissions.setAddress(place, limits, now())
    turnstile.changed()
  }

  removeAddress(address: string): void {
    const place = this.#entries.get(addressName(address))?.place
    if (place) this.putAddress(place, undefined)
  }

  /** null: without limits. */
  use(name: string): LimitUse | null {
    const entry = this.#entries.get(name)
    if (entry === undefined) return null
    const { turnstile, plane } = this.#options
    return { limits: entry.limits, connections: turnstile.admissions.open(name), rateWaits: plane.rateWaits(name) ?? { up: 0, down: 0 } }
  }

  /** Names with a byte rate, for the metrics: `address` null is a network's. */
  rates(): { readonly network: number; readonly address: string | null; readonly waits: RateWaits }[] {
    return [...this.#entries].flatMap(([name, { place, network }]) => {
      const waits = this.#options.plane.rateWaits(name)
      return waits === null ? [] : [{ network, address: place?.address ?? null, waits }]
    })
  }

  /** @returns false when nothing was limited and nothing is. */
  #put(name: string, where: Pick<Entry, 'place' | 'network'>, limits: LimitsRow | undefined): boolean {
    const before = this.#entries.get(name)
    if (limits === undefined && before === undefined) return false
    if (limits === undefined) this.#entries.delete(name)
    else this.#entries.set(name, { ...where, limits })
    const { bytesPerSecondUp, bytesPerSecondDown } = limits ?? {}
    const none = bytesPerSecondUp === undefined && bytesPerSecondDown === undefined
    const rate = { ...(bytesPerSecondUp !== undefined && { bytesPerSecondUp }), ...(bytesPerSecondDown !== undefined && { bytesPerSecondDown }) }
    this.#options.plane.setRate(name, none ? null : rate)
    return true
  }
}
