/** Settings of a database: its passwords, its users beside `default`, where clients may come from, its daily backups, when it rests. */
import { MAX_USERS, parseRules } from '../../../lib/acl-rules.ts'
import { NearcastError } from '../../../lib/errors.ts'
import type { DatabaseUser, ServiceRecord } from '../store/records.ts'
import type { StoreTransaction } from '../store/store.ts'
import type { Vault } from '../trust/credentials.ts'
import { newPassword } from '../trust/credentials.ts'
import type { Clock } from './clock.ts'

type Redis = NonNullable<ServiceRecord['redis']>

/** A new password, of `default` or of one of its other users. @throws NearcastError redis.user-unknown */
export function resetPassword(transaction: StoreTransaction, id: string, user: string | null, vault: Vault): void {
  change(transaction, id, (redis) => {
    const before = vault.open(id, redis.sealed)
    if (user === null) return { ...redis, sealed: vault.seal(id, { ...before, password: newPassword() }) }
    findUser(redis, user)
    return { ...redis, sealed: vault.seal(id, { ...before, users: { ...before.users, [user]: newPassword() } }) }
  })
}

/** `rules`: those that `parseRules` accepts. @throws NearcastError redis.user-exists, redis.users-full, redis.user-rules */
export function addUser(transaction: StoreTransaction, id: string, { name, rules }: { readonly name: string; readonly rules: string }, vault: Vault, clock: Clock): void {
  change(transaction, id, (redis) => {
    const users = redis.users ?? []
    if (users.some((user) => user.name === name)) throw new NearcastError('redis.user-exists', `The database has a user "${name}" already.`, { side: 'client' })
    if (users.length >= MAX_USERS) throw new NearcastError('redis.users-full', `A database has at most ${MAX_USERS} users beside "default"; remove one.`, { side: 'client' })
    const before = vault.open(id, redis.sealed)
    const user: DatabaseUser = { name, rules: checkedRules(rules), createdAt: clock().toISOString() }
    return { ...redis, users: [...users, user], sealed: vault.seal(id, { ...before, users: { ...before.users, [name]: newPassword() } }) }
  })
}

/** @throws NearcastError redis.user-unknown */
export function removeUser(transaction: StoreTransaction, id: string, name: string, vault: Vault): void {
  change(transaction, id, (redis) => {
    findUser(redis, name)
    const before = vault.open(id, redis.sealed)
    const { [name]: _removed, ...passwords } = before.users
    return { ...redis, users: (redis.users ?? []).filter((user) => user.name !== name), sealed: vault.seal(id, { ...before, users: passwords }) }
  })
}

/** null: from anywhere; undefined: as before. */
export function setAllowedSources(transaction: StoreTransaction, id: string, sources: readonly string[] | null | undefined): void {
  if (sources === undefined) return
  change(transaction, id, ({ allowedSources: _before, ...redis }) => ({ ...redis, ...(sources !== null && { allowedSources: [...new Set(sources)] }) }))
}

/** So many are kept; null: none are taken; undefined: as before. */
export function setDailyBackups(transaction: StoreTransaction, id: string, keep: number | null | undefined): void {
  if (keep === undefined) return
  change(transaction, id, ({ dailyBackups: _before, ...redis }) => ({ ...redis, ...(keep !== null && { dailyBackups: keep }) }))
}

/** null: as its node's agent is set; undefined: as before. */
export function setParking(transaction: StoreTransaction, id: string, parkAfterMinutes: number | 'never' | null | undefined): void {
  if (parkAfterMinutes === undefined) return
  change(transaction, id, ({ parkAfterMinutes: _before, ...redis }) => ({ ...redis, ...(parkAfterMinutes !== null && { parkAfterMinutes }) }))
}

/** @throws NearcastError redis.user-rules */
export function checkedRules(rules: string): string[] {
  const parsed = parseRules(rules)
  if (parsed !== null) return parsed
  throw new NearcastError('redis.user-rules', 'Rules are +command, -command, +@category, -@category, ~keys, %R~keys, %W~keys and &channels, like "~app:* +@read"; no passwords and no selectors.', {
    side: 'client',
  })
}

/** @throws NearcastError redis.user-unknown */
export function findUser(redis: Redis, name: string): DatabaseUser {
  const user = redis.users?.find((each) => each.name === name)
  if (user !== undefined) return user
  throw new NearcastError('redis.user-unknown', `The database has no user "${name.slice(0, 64)}"; "default" is its first one, and isn't listed.`, { side: 'client' })
}

function change(transaction: StoreTransaction, id: string, how: (redis: Redis) => Redis): void {
  const service = transaction.get('services', id)
  if (service?.redis === undefined) throw new NearcastError('redis.not-found', 'The database is gone.', { side: 'client' })
  transaction.put('services', { ...service, redis: how(service.redis) })
}
