/** Limits of addresses and networks: changed member by member; the last one gone, there are none. */
import type { Limits } from '../../../lib/feed/messages.ts'
import type { AddressRecord, NetworkRecord } from '../store/records.ts'
import type { StoreTransaction } from '../store/store.ts'

/** null: without that limit from now on; a member left out stays as it is. */
export type LimitsChange = { readonly [Member in keyof Limits]?: Limits[Member] | null | undefined }

/** Of the record as it is in the store now. */
export function setAddressLimits(transaction: StoreTransaction, { address }: Pick<AddressRecord, 'address'>, change: LimitsChange | undefined): void {
  const record = transaction.get('addresses', address)
  if (record === null || change === undefined) return
  const { limits, ...rest } = record
  transaction.put('addresses', { ...rest, ...changed(limits, change) })
}

export function setNetworkLimits(transaction: StoreTransaction, { id }: Pick<NetworkRecord, 'id'>, change: LimitsChange | undefined): void {
  const record = transaction.get('networks', String(id))
  if (record === null || change === undefined) return
  const { limits, ...rest } = record
  transaction.put('networks', { ...rest, ...changed(limits, change) })
}

function changed(before: Limits | undefined, change: LimitsChange): { limits?: Limits } {
  const limits = Object.fromEntries(Object.entries({ ...before, ...change }).filter(([, value]) => value !== null && value !== undefined))
  return Object.keys(limits).length === 0 ? {} : { limits }
}
