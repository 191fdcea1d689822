/**
 * The registry room put together: store, secrets, feed, publisher, rotation. Whoever holds a Registry may change it; the
 * API does. `openRegistry` also finishes what a crash left half-way (services still `provisioning`).
 */
import { join } from 'node:path'
import type { Logger } from '../../lib/log.ts'
import type { ReaderLimits } from './feed/reader-connection.ts'
import { Backups } from './backups.ts'
import { FeedServer } from './feed/feed-server.ts'
import { Views } from './feed/views.ts'
import type { Clock } from './objects/clock.ts'
import type { DatabasePlan } from './objects/databases.ts'
import type { Plans } from './objects/plans.ts'
import type { Quotas } from './objects/quotas.ts'
import { activateService } from './objects/services.ts'
import { Publisher } from './provisioning.ts'
import { HighWater } from './store/high-water.ts'
import { lockStore } from './store/lock.ts'
import { SqliteStore } from './store/sqlite-store.ts'
import type { Store } from './store/store.ts'
import { BackboneRekey } from './trust/backbone-rekey.ts'
import { CertificateAuthority } from './trust/certificate-authority.ts'
import { Vault } from './trust/credentials.ts'
import { HopKeyring } from './trust/hop-keys.ts'
import { HopRotation } from './trust/hop-rotation.ts'
import { secretKey } from './trust/key-file.ts'

export interface Registry {
  readonly id: string
  readonly prefix: number
  readonly quotas: Quotas
  readonly plans: Plans
  readonly clock: Clock
  readonly store: Store
  readonly vault: Vault
  readonly authority: CertificateAuthority
  readonly feed: FeedServer
  readonly publisher: Publisher
  readonly rotation: HopRotation
  readonly rekey: BackboneRekey
  readonly plan: DatabasePlan
  readonly backups: Backups
  close(): void
}

export interface RegistryOptions {
  readonly id: string
  readonly stateDir: string
  readonly prefix: number
  readonly quotas: Quotas
  readonly plans?: Plans
  readonly log: Logger
  readonly clock?: Clock
  readonly readerLimits?: Partial<ReaderLimits>
  /** For tests of a full disk. */
  readonly maxPages?: number
}

/** The files of a registry, all in its state directory. */
export const FILES = {
  store: 'nearcast.db',
  highWater: 'high-water.log',
  lock: 'router.lock',
  credentialsKey: 'credentials.key',
  hopKey: 'hop.key',
} as const

/** @throws NearcastError store.locked, store.corrupt, store.unavailable, config.invalid */
export async function openRegistry(options: RegistryOptions): Promise<Registry> {
  const unlock = lockStore(join(options.stateDir, FILES.lock))
  try {
    return await assemble(options, unlock)
  } catch (error) {
    unlock()
    throw error
  }
}

async function assemble(options: RegistryOptions, unlock: () => void): Promise<Registry> {
  const { id, stateDir, prefix, quotas, plans = { plans: [] }, log, clock = () => new Date() } = options
  const store = new SqliteStore({
    file: join(stateDir, FILES.store),
    highWater: new HighWater(join(stateDir, FILES.highWater)),
    now: clock,
    ...(options.maxPages !== undefined && { maxPages: options.maxPages }),
  })
  const vault = new Vault(secretKey(join(stateDir, FILES.credentialsKey)))
  const authority = await CertificateAuthority.open(stateDir)
  const views = new Views(new HopKeyring(secretKey(join(stateDir, FILES.hopKey))), vault, prefix)
  const feed = new FeedServer({ store, views, log, ...(options.readerLimits !== undefined && { limits: options.readerLimits }) })
  const rotation = new HopRotation(store, feed.acknowledgements)
  const rekey = new BackboneRekey(store, feed.acknowledgements)
  feed.onAck(() => {
    rotation.advance()
    rekey.advance()
  })
  const connected = (node: string): boolean => feed.isConnected(`agent/${node}`)
  finishProvisioning(store)
  return {
    id,
    prefix,
    quotas,
    plans,
    clock,
    store,
    vault,
    authority,
    feed,
    rotation,
    rekey,
    publisher: new Publisher(store, feed),
    backups: new Backups({ store, feed, vault, clock, log }),
    plan: { prefix, quotas, clock, vault, connected },
    close: () => {
      feed.close()
      store.close()
      unlock()
    },
  }
}

function finishProvisioning(store: Store): void {
  const services = store.list('services').filter((service) => service.state === 'provisioning')
  const addresses = store.list('addresses').filter((address) => !address.active)
  const unfinished = new Set([...services.map((service) => service.id), ...addresses.map((address) => address.service)])
  if (unfinished.size === 0) return
  store.write({ who: 'router', what: 'provisioning.finish' }, (transaction) => {
    for (const id of unfinished) activateService(transaction, id)
  })
}
