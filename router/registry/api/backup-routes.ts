/** Routes of backups: taken, listed, given back, read, removed. */
import { setTimeout as delay } from 'node:timers/promises'
import { NearcastError } from '../../../lib/errors.ts'
import { findBackup } from '../backups.ts'
import { findService } from '../objects/services.ts'
import type { Registry } from '../registry.ts'
import type { OrgRecord } from '../store/records.ts'
import { listOf } from './answers.ts'
import { backupAnswer, backupRemovedAnswer, contentAnswer, restoredAnswer } from './redis-answers.ts'
import { backupDocument } from './documents.ts'
import type { Call, Route } from './route.ts'
import { route } from './route.ts'
import { contentQuery, emptyBody, restoreBody } from './schemas.ts'

const PATH = '/v1/orgs/:org/redis/:name'
/** An answer waits so long for what has begun; whoever wants to know more asks again. */
const WAIT_MS = 15_000

export function backupRoutes(registry: Registry): Route[] {
  const { store, backups } = registry
  return [
    route({
      method: 'GET',
      path: `${PATH}/backups`,
      access: 'org',
      summary: 'List the backups of a database, the newest last',
      answer: listOf(backupAnswer),
      handle: (call, org) => backups.of(database(registry, call, org).id).map((backup) => backupDocument(registry, backup)),
    }),
    route({
      method: 'POST',
      path: `${PATH}/backups`,
      access: 'org',
      summary: 'Take a backup of a database while it runs; answers when it is ready, or after 15 s while it is running',
      body: emptyBody,
      answer: backupAnswer,
      handle: async (call, org) => {
        const { id, whole } = backups.take(database(registry, call, org), 'manual', call.act('backup.create'))
        await Promise.race([whole, delay(WAIT_MS, undefined, { ref: false })])
        return backupDocument(registry, findBackup(store, org.id, id))
      },
    }),
    route({
      method: 'GET',
      path: `${PATH}/backups/:backup/content`,
      access: 'org',
      summary: 'Read a part of a backup, as the RDB that it is; for tokens that may see credentials',
      query: contentQuery,
      answer: contentAnswer,
      handle: async (call, org) => {
        const backup = findBackup(store, org.id, call.params['backup'] ?? '')
        if (!call.showsSecrets) throw new NearcastError('token.scope-missing', 'What a database holds is shown to tokens with the scope "write".', { side: 'client' })
        const { data, next } = await backups.content(backup, call.query.offset)
        return { data: data.toString('base64'), next }
      },
    }),
    route({
      method: 'POST',
      path: `${PATH}/restore`,
      access: 'org',
      summary: 'Replace what a database holds by a backup of this or another one; open connections end',
      body: restoreBody,
      status: 200,
      answer: restoredAnswer,
      handle: async (call, org) => {
        const target = database(registry, call, org)
        const backup = findBackup(store, org.id, call.body.backup)
        const startedMs = performance.now()
        // In the audit before anything is replaced.
        store.write(call.act('backup.restore'), (transaction) => transaction.put('backups', { ...backup, restoredInto: target.id }))
        const restoring = backups.restore(target, backup).then(() => 'restored' as const)
        // Whoever waits no more doesn't hear of a failure; the log does.
        restoring.catch(() => {})
        const state = await Promise.race([restoring, delay(WAIT_MS, 'running' as const, { ref: false })])
        return { database: target.name, backup: backup.id, state, ms: Math.round(performance.now() - startedMs) }
      },
    }),
    route({
      method: 'DELETE',
      path: `${PATH}/backups/:backup`,
      access: 'org',
      summary: 'Remove a backup; its key is forgotten with it',
      answer: backupRemovedAnswer,
      handle: async (call, org) => {
        const backup = findBackup(store, org.id, call.params['backup'] ?? '')
        await backups.remove(backup, call.act('backup.delete'))
        return { id: backup.id, deleted: true as const }
      },
    }),
  ]
}

function database({ store }: Registry, { params }: Pick<Call, 'params'>, org: OrgRecord) {
  return findService(store, org.id, params['name'] ?? '', 'redis')
}
