/**
 * The reader's copy of the feed: seven maps that change only through `apply`. Pure; rows are checked one by one, so that
 * a row of a newer kind or a damaged one is skipped and reported while everything else goes into force.
 */
import type { z } from 'zod'
import { formatIpv6, isIpv6Text, parseIpv6 } from '../address.ts'
import type { AddressRow, BackboneRow, Change, DialerRow, NetworkRow, NodeRow, ServiceRow, TableName, WireguardRow } from './messages.ts'
import { addressRow, backboneRow, dialerRow, networkRow, nodeRow, serviceRow, tables, wireguardRow } from './messages.ts'

export interface AppliedChange {
  readonly table: TableName
  readonly key: string
  /** null: removed. */
  readonly row: unknown
}

export interface RejectedChange {
  readonly table: string
  readonly key: string
  readonly reason: string
}

export interface ApplyResult {
  readonly applied: AppliedChange[]
  /** Rows that didn't fit their schema: the row that was in force before stays. Unknown tables aren't rejected, only skipped. */
  readonly rejected: RejectedChange[]
}

export class FeedTable {
  readonly #networks = new Map<number, NetworkRow>()
  readonly #services = new Map<string, ServiceRow>()
  readonly #addresses = new Map<string, AddressRow>()
  readonly #nodes = new Map<string, NodeRow>()
  readonly #dialers = new Map<string, DialerRow>()
  readonly #wireguard = new Map<string, WireguardRow>()
  readonly #backbone = new Map<string, BackboneRow>()

  get networks(): ReadonlyMap<number, NetworkRow> {
    return this.#networks
  }
  get services(): ReadonlyMap<string, ServiceRow> {
    return this.#services
  }
  /** Key: RFC 5952 text. */
  get addresses(): ReadonlyMap<string, AddressRow> {
    return this.#addresses
  }
  get nodes(): ReadonlyMap<string, NodeRow> {
    return this.#nodes
  }
  get dialers(): ReadonlyMap<string, DialerRow> {
    return this.#dialers
  }
  /** Key: the peer's public key, base64. */
  get wireguard(): ReadonlyMap<string, WireguardRow> {
    return this.#wireguard
  }
  get backbone(): ReadonlyMap<string, BackboneRow> {
    return this.#backbone
  }

  apply(changes: readonly Change[]): ApplyResult {
    const result: ApplyResult = { applied: [], rejected: [] }
    for (const { table, key, row } of changes) {
      if (!isTableName(table)) continue
      const reason = row === null || row === undefined ? this.#remove(table, key) : this.#put(table, key, row)
      if (reason === null) result.applied.push({ table, key, row: row ?? null })
      else result.rejected.push({ table, key, reason })
    }
    return result
  }

  /** Everything, as changes on an empty table: the content of the cache. */
  rows(): Change[] {
    return [
      ...named('networks', this.#networks),
      ...named('nodes', this.#nodes),
      ...named('dialers', this.#dialers),
      ...named('services', this.#services),
      ...named('addresses', this.#addresses),
      ...named('wireguard', this.#wireguard),
      ...named('backbone', this.#backbone),
    ]
  }

  #remove(table: TableName, key: string): string | null {
    if (table === 'networks') this.#networks.delete(Number(key))
    else if (table === 'services') this.#services.delete(key)
    else if (table === 'addresses') this.#addresses.delete(canonical(key))
    else if (table === 'nodes') this.#nodes.delete(key)
    else if (table === 'dialers') this.#dialers.delete(key)
    else if (table === 'wireguard') this.#wireguard.delete(key)
    else this.#backbone.delete(key)
    return null
  }

  /** @returns why the row was refused, or null. */
  #put(table: TableName, key: string, row: unknown): string | null {
    if (table === 'networks') {
      return accept(networkRow, row, (value) => (String(value.id) === key ? void this.#networks.set(value.id, value) : OTHER_KEY))
    }
    if (table === 'addresses') {
      return accept(addressRow, row, (value) => {
        if (!isIpv6Text(value.address)) return 'address: not an IPv6 address'
        const address = canonical(value.address)
        return address === canonical(key) ? void this.#addresses.set(address, { ...value, address }) : OTHER_KEY
      })
    }
    if (table === 'services') return accept(serviceRow, row, (value) => (value.id === key ? void this.#services.set(key, value) : OTHER_KEY))
    if (table === 'nodes') return accept(nodeRow, row, (value) => (value.id === key ? void this.#nodes.set(key, value) : OTHER_KEY))
    if (table === 'backbone') return accept(backboneRow, row, (value) => (value.id === key ? void this.#backbone.set(key, value) : OTHER_KEY))
    if (table === 'wireguard') {
      return accept(wireguardRow, row, (value) => (value.publicKey === key ? void this.#wireguard.set(key, value) : OTHER_KEY))
    }
    return accept(dialerRow, row, (value) => (value.id === key ? void this.#dialers.set(key, value) : OTHER_KEY))
  }
}

function named(table: TableName, map: ReadonlyMap<string | number, unknown>): Change[] {
  return [...map].map(([key, row]) => ({ table, key: String(key), row }))
}

const OTHER_KEY = 'the key is not the id'

function accept<Row>(schema: z.ZodType<Row>, row: unknown, put: (row: Row) => string | void): string | null {
  const parsed = schema.safeParse(row)
  if (parsed.success) return put(parsed.data) ?? null
  const issue = parsed.error.issues[0]
  return `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}`
}

function isTableName(name: string): name is TableName {
  return Object.hasOwn(tables, name)
}

function canonical(address: string): string {
  return isIpv6Text(address) ? formatIpv6(parseIpv6(address)) : address
}
