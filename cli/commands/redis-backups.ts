/** `nearcast redis backups … | export`: copies of a database, kept or taken home. */
import { createHash } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import type { Command } from 'commander'
import { z } from 'zod'
import { NearcastError } from '../../lib/errors.ts'
import { listOf, redisObject } from '../api-objects.ts'
import { facts, milliseconds, table } from '../output.ts'
import { confirmed, YES_OPTION } from './confirm.ts'
import type { OrgOptions } from './redis-access.ts'
import { databasePath } from './redis-access.ts'
import type { Session, WithSession } from './session.ts'
import { ORG_OPTION } from './session.ts'
import { segment } from './values.ts'

const backupObject = z.looseObject({
  id: z.string(),
  database: z.string(),
  kind: z.string(),
  state: z.string(),
  error: z.string().optional(),
  bytes: z.number(),
  sha256: z.string(),
  stored: z.string().optional(),
  createdAt: z.string(),
})
type Backup = z.infer<typeof backupObject>
const restoredObject = z.looseObject({ state: z.string(), ms: z.number() })
const contentObject = z.looseObject({ data: z.base64(), next: z.number().nullable() })

const POLL_MS = 1000

export function addRedisBackupCommands(redis: Command, withSession: WithSession): void {
  const backups = redis.command('backups').description('copies of a database, taken while it runs, sealed on its node or in a bucket')

  backups
    .command('create <name>')
    .description('take one')
    .option(...ORG_OPTION)
    .action((name: string, options: OrgOptions, command: Command) =>
      withSession(command, async (session) => {
        const backup = await taken(session, await databasePath(session, name, options))
        session.output.show(backup, () => described(backup))
      }),
    )

  backups
    .command('list <name>')
    .description('those that there are, the newest last')
    .option(...ORG_OPTION)
    .action((name: string, options: OrgOptions, command: Command) =>
      withSession(command, async (session) => {
        const known = await session.api.get(`${await databasePath(session, name, options)}/backups`, listOf(backupObject))
        const rows = known.map((each) => [each.id, each.kind, each.error === undefined ? each.state : `${each.state}: ${each.error}`, each.bytes, each.stored ?? 'node', each.createdAt])
        session.output.show(known, () => table(['id', 'kind', 'state', 'bytes', 'stored', 'taken at'], rows))
      }),
    )

  backups
    .command('restore <name> <backup>')
    .description('replace what a database holds by a backup of it or of another one of the organization; open connections end')
    .option(...ORG_OPTION)
    .option(...YES_OPTION)
    .action((name: string, backup: string, options: OrgOptions & { yes?: true }, command: Command) =>
      withSession(command, async (session) => {
        const path = await databasePath(session, name, options)
        const database = await session.api.get(path, redisObject)
        await confirmed(session, database.name, options.yes, 'overwrite')
        const answer = await session.api.post(`${path}/restore`, { backup }, restoredObject)
        const still = `The backup ${backup} is still being put into ${database.name}; it is unavailable until that is done.`
        session.output.show(answer, () => (answer.state === 'restored' ? `${database.name} holds the backup ${backup} (${milliseconds(answer.ms)}).` : still))
      }),
    )

  backups
    .command('delete <name> <backup>')
    .description("remove one; its key is forgotten, so this can't be undone")
    .option(...ORG_OPTION)
    .option(...YES_OPTION)
    .action((name: string, backup: string, options: OrgOptions & { yes?: true }, command: Command) =>
      withSession(command, async (session) => {
        await confirmed(session, backup, options.yes)
        await session.api.delete(`${await databasePath(session, name, options)}/backups/${segment(backup)}`)
        session.output.show({ deleted: backup }, () => `The backup ${backup} was removed.`)
      }),
    )

  redis
    .command('export <name>')
    .description('write a copy of a database to a file here, as an RDB that a plain redis-server loads')
    .option(...ORG_OPTION)
    .requiredOption('--to <file>', 'a file that is made, or replaced')
    .option('--backup <backup>', 'this backup instead of one of this moment')
    .action((name: string, options: OrgOptions & { to: string; backup?: string }, command: Command) =>
      withSession(command, async (session) => {
        const path = await databasePath(session, name, options)
        const backup = options.backup === undefined ? await taken(session, path) : await found(session, path, options.backup)
        try {
          await download(session, path, backup, options.to)
        } finally {
          if (options.backup === undefined) await session.api.delete(`${path}/backups/${segment(backup.id)}`)
        }
        session.output.show({ file: options.to, bytes: backup.bytes, sha256: backup.sha256 }, () => `${options.to}: ${backup.bytes} bytes, SHA-256 ${backup.sha256}.`)
      }),
    )
}

/** @throws NearcastError api.error when it failed */
async function taken(session: Session, path: string): Promise<Backup> {
  let backup = await session.api.post(`${path}/backups`, {}, backupObject)
  while (backup.state === 'running') {
    session.output.hint('The backup is being taken …')
    await delay(POLL_MS)
    backup = await found(session, path, backup.id)
  }
  if (backup.state === 'ready') return backup
  throw new NearcastError('redis.copy-failed', backup.error ?? 'The backup failed; try again.', { side: 'upstream' })
}

async function found({ api }: Session, path: string, id: string): Promise<Backup> {
  const backup = (await api.get(`${path}/backups`, listOf(backupObject))).find((each) => each.id === id)
  if (backup !== undefined) return backup
  throw new NearcastError('redis.backup-missing', `The database has no backup "${id}"; "nearcast redis backups list" lists them.`, { side: 'client' })
}

/** Whole and checked, or not there. @throws NearcastError cli.file, redis.backup-damaged */
async function download({ api }: Session, path: string, { id, sha256 }: Backup, to: string): Promise<void> {
  const part = `${to}.part`
  const file = await open(part, 'w', 0o600).catch((cause: unknown) => {
    throw new NearcastError('cli.file', `${part} can't be written; name a file in a directory that you may write.`, { side: 'client', cause })
  })
  const hash = createHash('sha256')
  try {
    for (let offset: number | null = 0; offset !== null; ) {
      const content: z.infer<typeof contentObject> = await api.get(`${path}/backups/${segment(id)}/content?offset=${offset}`, contentObject)
      const data = Buffer.from(content.data, 'base64')
      hash.update(data)
      await file.writeFile(data)
      offset = content.next
    }
    if (hash.digest('hex') !== sha256) throw new NearcastError('redis.backup-damaged', 'What came is not what was taken; try again.')
    await file.sync()
    await rename(part, to)
  } catch (error) {
    await rm(part, { force: true })
    throw error
  } finally {
    await file.close()
  }
}

function described(backup: Backup): string {
  return facts([
    ['backup', backup.id],
    ['of', backup.database],
    ['bytes', backup.bytes],
    ['sha-256', backup.sha256],
  ])
}
