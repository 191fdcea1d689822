/** The step of the story about backups: taken while the database runs, given back, put into another one, taken home. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Step } from './step.ts'
import { check, said, until } from './step.ts'

interface Made {
  readonly url: string
}

interface Backup {
  readonly id: string
  readonly bytes: number
}

export const REDIS_BACKUP_STEP: Step = {
  name: 'redis-backup',
  beside: true,
  title: "A backup of Madrid's running database, restored there and into one in Amsterdam; an export that a plain redis-server loads",
  async run({ cluster, show }) {
    const make = (name: string, region: string): Promise<Made> => cluster.json(['redis', 'create', '--org', 'acme', '--name', name, '--region', region])
    const [shop, copy] = [await make('shop', 'mad'), await make('shop-copy', 'ams')]
    const ask = async ({ url }: Made, region: string, command: string): Promise<string> => {
      const finished = await cluster.onAppHost('acme', region, `redis-cli --no-auth-warning -u "$URL" ${command}`, { URL: url })
      show(`acme in ${region}> ${command}\n${said(finished)}`)
      return said(finished)
    }
    await ask(shop, 'mad', `eval "for i = 1, 10000 do redis.call('set', 'k' .. i, i) end" 0`)
    const backup = await cluster.json<Backup>(['redis', 'backups', 'create', 'shop', '--org', 'acme'])
    show(`$ nearcast redis backups create shop\n${backup.id}, ${backup.bytes} bytes`)
    await ask(shop, 'mad', 'flushall')
    for (const [name, database, region] of [['shop', shop, 'mad'], ['shop-copy', copy, 'ams']] as const) {
      const restored = await cluster.nearcast(['redis', 'backups', 'restore', name, backup.id, '--org', 'acme', '--yes'])
      show(`$ nearcast redis backups restore ${name} ${backup.id}\n${said(restored)}`)
      await until(`${name} answers again`, async () => (await cluster.onAppHost('acme', region, 'redis-cli --no-auth-warning -u "$URL" dbsize', { URL: database.url })).stdout.trim() === '10000')
      check((await ask(database, region, 'get k10000')) === '10000', `${name} does not hold what was backed up.`)
    }
    const directory = await mkdtemp(join(tmpdir(), 'nearcast-demo-'))
    try {
      const file = join(directory, 'shop.rdb')
      const exported = await cluster.nearcast(['redis', 'export', 'shop', '--org', 'acme', '--to', file])
      show(`$ nearcast redis export shop --to shop.rdb\n${said(exported).replace(directory, '')}`)
      check(exported.code === 0 && (await readFile(file)).subarray(0, 5).toString() === 'REDIS', 'The export is no RDB.')
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
    for (const name of ['shop', 'shop-copy']) await cluster.nearcast(['redis', 'destroy', name, '--org', 'acme', '--yes'])
  },
}
