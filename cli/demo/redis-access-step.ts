/** The step of the story about who may use a database: a user with rules, an allow-list, a new password. */
import type { Step } from './step.ts'
import { check, said, until } from './step.ts'

export const REDIS_ACCESS_STEP: Step = {
  name: 'redis-access',
  beside: true,
  title: 'A user that may only read, an allow-list that tells its refusal, a new password that counts at once',
  async run({ cluster, show }) {
    const { url } = await cluster.json<{ readonly url: string }>(['redis', 'create', '--org', 'acme', '--name', 'shared', '--region', 'mad'])
    const ask = async (as: string, command: string): Promise<string> => {
      const finished = await cluster.onAppHost('acme', 'mad', `redis-cli --no-auth-warning -u "$URL" ${command}`, { URL: as })
      show(`acme in mad as ${new URL(as).username}> ${command}\n${said(finished)}`)
      return said(finished)
    }
    check((await ask(url, 'set app:k v')) === 'OK', 'The write was not acknowledged.')
    const user = await cluster.json<{ readonly url: string }>(['redis', 'users', 'create', 'shared', 'reader', '--org', 'acme', '--rules', '~app:* +@read'])
    check((await ask(user.url, 'get app:k')) === 'v', 'The user can not read.')
    check((await ask(user.url, 'set app:k w')).includes('NOPERM'), 'The user can write.')

    await cluster.json(['redis', 'set', 'shared', '--org', 'acme', '--allow', '192.0.2.0/24'])
    check((await ask(url, 'get app:k')).includes('DENIED redis.source-not-allowed'), 'A client that is not on the allow-list was let in.')
    const metrics = await cluster.nearcast(['dev', 'metrics', 'mad-1/agent'])
    const counted = metrics.stdout.split('\n').find((line) => line.includes('source-not-allowed') && line.startsWith('nearcast_agent_refused_total'))
    check(counted !== undefined, 'The refusal is not counted.')
    show(counted)
    await cluster.json(['redis', 'set', 'shared', '--org', 'acme', '--allow', 'any'])

    // One that stays connected, and asks nothing: it ends when its password does.
    const held = cluster.onAppHost('acme', 'mad', 'timeout 15 redis-cli --no-auth-warning -u "$URL" subscribe news', { URL: url })
    await until('it listens', async () => {
      const finished = await cluster.onAppHost('acme', 'mad', 'redis-cli --no-auth-warning -u "$URL" publish news hello', { URL: url })
      return finished.stdout.trim() === '1'
    })
    const renewed = await cluster.json<{ readonly url: string }>(['redis', 'reset-password', 'shared', '--org', 'acme', '--yes'])
    check(/WRONGPASS|NOAUTH/.test(await ask(url, 'get app:k')), 'The old password still counts.')
    check((await ask(renewed.url, 'publish news later')) === '0', 'A connection under the old password is still there.')
    void held
    await cluster.nearcast(['redis', 'destroy', 'shared', '--org', 'acme', '--yes'])
  },
}
