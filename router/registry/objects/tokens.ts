/** API tokens: an operator's may everything, a member's only what belongs to its org. Only hashes are stored. */
import { NearcastError } from '../../../lib/errors.ts'
import type { TokenRecord } from '../store/records.ts'
import type { StoreReader, StoreTransaction } from '../store/store.ts'
import { apiTokenId, BOOTSTRAP_TOKEN_ID, hashToken, matchesHash, newApiToken, newId } from '../trust/secret-token.ts'
import type { Clock } from './clock.ts'
import { findOrg } from './orgs.ts'

export interface TokenRequest {
  readonly name: string
  readonly role: 'operator' | 'member'
  readonly org?: string | undefined
}

/** @returns the record and the token, which can't be shown again. @throws NearcastError api.body-invalid, org.not-found */
export function createToken(transaction: StoreTransaction, request: TokenRequest, clock: Clock): { record: TokenRecord; token: string } {
  if ((request.role === 'member') !== (request.org !== undefined)) {
    throw new NearcastError('api.body-invalid', 'org: a member token names its organization, an operator token names none.', { side: 'client' })
  }
  const id = newId('tok')
  const token = newApiToken(id)
  const org = request.org === undefined ? '' : findOrg(transaction, request.org).id
  const record: TokenRecord = { id, name: request.name, role: request.role, org, hash: hashToken(token), createdAt: clock().toISOString() }
  transaction.put('tokens', record)
  return { record, token }
}

/** The operator's first token, made by the router or given by its starter. */
export function putBootstrapToken(transaction: StoreTransaction, token: string, clock: Clock): void {
  const hash = hashToken(token)
  if (transaction.get('tokens', BOOTSTRAP_TOKEN_ID)?.hash === hash) return
  transaction.put('tokens', { id: BOOTSTRAP_TOKEN_ID, name: 'bootstrap', role: 'operator', org: '', hash, createdAt: clock().toISOString() })
}

/** null when the token counts for nothing. */
export function authenticate(store: StoreReader, token: string): TokenRecord | null {
  const record = store.get('tokens', apiTokenId(token))
  return record !== null && matchesHash(token, record.hash) ? record : null
}

/** @throws NearcastError token.not-found */
export function removeToken(transaction: StoreTransaction, id: string): void {
  if (!transaction.remove('tokens', id)) throw new NearcastError('token.not-found', `There is no token "${id.slice(0, 64)}".`, { side: 'client' })
}
