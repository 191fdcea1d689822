/** How much one organization may have. Checked inside the transaction that adds, so two requests can't both take the last place. */
import type { ErrorCode } from '../../../lib/errors.ts'
import { NearcastError } from '../../../lib/errors.ts'

export interface Quotas {
  readonly networks: number
  readonly databases: number
  readonly services: number
  readonly addresses: number
  readonly grants: number
  /** WireGuard's. */
  readonly peers: number
}

const CODES = {
  networks: 'quota.networks',
  databases: 'quota.databases',
  services: 'quota.services',
  addresses: 'quota.addresses',
  grants: 'quota.grants',
  peers: 'quota.peers',
} as const satisfies Record<keyof Quotas, ErrorCode>

export function checkQuota(what: keyof Quotas, present: number, quotas: Quotas): void {
  if (present < quotas[what]) return
  throw new NearcastError(CODES[what], `The organization has ${present} ${what}, its quota; remove some, or have the operator raise the quota.`, { side: 'client' })
}
