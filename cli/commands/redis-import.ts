/** `nearcast redis import`: a database takes over a Redis elsewhere while that one is in use. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Command } from 'commander'
import { z } from 'zod'
import { NearcastError } from '../../lib/errors.ts'
import { redisObject } from '../api-objects.ts'
import { colours } from '../colours.ts'
import { facts } from '../output.ts'
import { confirmed, YES_OPTION } from './confirm.ts'
import type { OrgOptions } from './redis-access.ts'
import { databasePath } from './redis-access.ts'
import type { Session, WithSession } from './session.ts'
import { ORG_OPTION } from './session.ts'

interface ImportOptions extends OrgOptions {
  readonly from?: string
  readonly status?: true
  readonly cutOver?: true
  readonly stop?: true
  readonly yes?: true
}

const importObject = z.looseObject({
  phase: z.string(),
  way: z.string(),
  totalBytes: z.number(),
  copiedBytes: z.number(),
  lagBytes: z.number().nullable(),
  keys: z.number(),
  sourceKeys: z.number().nullable(),
  samples: z.number(),
  differing: z.number(),
  error: z.string().optional(),
})
type Progress = z.infer<typeof importObject>

const POLL_MS = 500
const OVER: readonly string[] = ['done', 'stopped', 'failed']

export function addRedisImportCommand(redis: Command, withSession: WithSession): void {
  redis
    .command('import <name>')
    .description('replace what a database holds by a Redis elsewhere: it follows that one until --cut-over')
    .option(...ORG_OPTION)
    .option('--from <url>', 'redis://user:password@host:port, or rediss:// (else NEARCAST_IMPORT_FROM, which no process list shows)')
    .option('--status', 'how far it is')
    .option('--cut-over', 'end it as soon as nothing is missing; stop what writes to the source first')
    .option('--stop', 'give up; the database holds what has come so far')
    .option(...YES_OPTION)
    .action((name: string, options: ImportOptions, command: Command) =>
      withSession(command, async (session) => {
        const { api } = session
        const base = await databasePath(session, name, options)
        const path = `${base}/import`
        if (options.stop === true) await api.delete(path)
        else if (options.cutOver === true) await api.post(`${path}/cut-over`, {}, importObject)
        else if (options.status !== true) await begin(session, base, options)
        const until = options.stop === true || options.cutOver === true ? OVER : options.status === true ? null : [...OVER, 'following']
        const progress = await watched(session, path, until)
        if (progress.phase === 'failed') throw new NearcastError('redis.copy-failed', progress.error ?? 'The import failed.', { side: 'upstream' })
        session.output.show(progress, () => described(progress))
      }),
    )
}

async function begin(session: Session, base: string, { from = process.env['NEARCAST_IMPORT_FROM'], yes }: ImportOptions): Promise<void> {
  if (from === undefined) throw new NearcastError('cli.usage', 'Say where from: --from redis://user:password@host:port.')
  const database = await session.api.get(base, redisObject)
  await confirmed(session, database.name, yes, 'overwrite')
  await session.api.post(`${base}/import`, { from }, importObject)
}

/** Shows how far it is until it is in one of these phases; null: asks once. */
async function watched({ api, output }: Session, path: string, phases: readonly string[] | null): Promise<Progress> {
  for (;;) {
    const progress = await api.get(path, importObject)
    if (phases === null || phases.includes(progress.phase)) return progress
    output.hint(colours.dim(`${progress.phase}  ${progress.copiedBytes} of ${progress.totalBytes} bytes  lag ${progress.lagBytes ?? '-'} bytes  ${progress.keys} keys`))
    await delay(POLL_MS)
  }
}

function described(progress: Progress): string {
  const next = progress.phase === 'following' ? [['next', 'stop what writes to the source, then --cut-over'] as const] : []
  return facts([
    ['phase', progress.phase],
    ['by', progress.way === 'keys' ? 'copying every key, once more at the cut-over: the source denies PSYNC' : 'replication'],
    ['first copy', `${progress.copiedBytes} of ${progress.totalBytes} bytes`],
    ['lag', progress.lagBytes === null ? null : `${progress.lagBytes} bytes`],
    ['keys here', progress.keys],
    ['keys at the source', progress.sourceKeys],
    ['samples compared', progress.phase === 'done' ? `${progress.samples}, ${progress.differing} of them differ` : null],
    ...next,
  ])
}
