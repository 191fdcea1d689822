/**
 * API tokens: an operator's may everything, a member's only what belongs to its org; scopes and an end narrow either.
 * Only hashes are stored.
 */
import { NearcastError } from '../../../lib/errors.ts'
import type { Scope, TokenRecord } from '../store/records.ts'
import { SCOPES } from '../store/records.ts'
import type { StoreReader, StoreTransaction } from '../store/store.ts'
import { apiTokenId, BOOTSTRAP_TOKEN_ID, hashToken, matchesHash, newApiToken, newId } from '../trust/secret-token.ts'
import type { Clock } from './clock.ts'
import { findOrg } from './orgs.ts'

export interface TokenRequest {
  readonly name: string
  readonly role: 'operator' | 'member'
  readonly org?: string | undefined
  /** Default: all. */
  readonly scopes?: readonly Scope[] | undefined
  readonly expiresAt?: string | undefined
}

/** @returns the record and the token, which can't be shown again. @throws NearcastError api.body-invalid, org.not-found */
export function createToken(transaction: StoreTransaction, request: TokenRequest, clock: Clock): { record: TokenRecord; token: string } {
  if ((request.role === 'member') !== (request.org !== undefined)) {
    throw new NearcastError('api.body-invalid', 'org: a member token names its organization, an operator token names none.', { side: 'client' })
  }
  const id = newId('tok')
  const token = newApiToken(id)
  const org = request.org === undefined ? '' : findOrg(transaction, request.org).id
  const now = clock()
  const { name, role, expiresAt } = request
  if (expiresAt !== undefined && Date.parse(expiresAt) <= now.getTime()) {
    throw new NearcastError('api.body-invalid', 'expiresAt: that time has passed; name one to come, or leave it out.', { side: 'client' })
  }
  // Who may change things may look at them.
  const scopes = SCOPES.filter((scope) => scope === 'read' || (request.scopes?.includes(scope) ?? true))
  const end = expiresAt === undefined ? {} : { expiresAt: new Date(expiresAt).toISOString() }
  const record: TokenRecord = { id, name, role, org, scopes, ...end, hash: hashToken(token), createdAt: now.toISOString() }
  transaction.put('tokens', record)
  return { record, token }
}

/** The operator's first token, made by the router or given by its starter. */
export function putBootstrapToken(transaction: StoreTransaction, token: string, clock: Clock): void {
  const hash = hashToken(token)
  if (transaction.get('tokens', BOOTSTRAP_TOKEN_ID)?.hash === hash) return
  transaction.put('tokens', { id: BOOTSTRAP_TOKEN_ID, name: 'bootstrap', role: 'operator', org: '', hash, createdAt: clock().toISOString() })
}

/** null when the token was never one of ours, or is removed. */
export function authenticate(store: StoreReader, token: string): TokenRecord | null {
  const record = store.get('tokens', apiTokenId(token))
  return record !== null && matchesHash(token, record.hash) ? record : null
}

/** @throws NearcastError token.expired */
export function checkExpiry(token: TokenRecord, clock: Clock): void {
  if (token.expiresAt === undefined || Date.parse(token.expiresAt) > clock().getTime()) return
  throw new NearcastError('token.expired', `This token ended at ${token.expiresAt}; ask for a new one.`, { side: 'client' })
}

/** @throws NearcastError token.scope-missing */
export function checkScope(token: TokenRecord, scope: Scope): void {
  if (scopesOf(token).includes(scope)) return
  throw new NearcastError('token.scope-missing', `This token may ${scopesOf(token).join(' and ')} only; that needs one with the scope ${scope}.`, { side: 'client' })
}

export function scopesOf(token: TokenRecord): readonly Scope[] {
  return token.scopes ?? SCOPES
}

/** @throws NearcastError token.not-found */
export function removeToken(transaction: StoreTransaction, id: string): void {
  if (!transaction.remove('tokens', id)) throw new NearcastError('token.not-found', `There is no token "${id.slice(0, 64)}".`, { side: 'client' })
}
