/** The step of the story about plans: an app meets its limits, is told which, and goes on with a larger plan. */
import type { Step } from './step.ts'
import { check, said } from './step.ts'

export const REDIS_LIMITS_STEP: Step = {
  name: 'redis-limits',
  beside: true,
  title: 'A database on a small plan: its limits answer in words, the larger plan takes what they refused',
  async run({ cluster, show }) {
    const type = async (words: string[]): Promise<string> => {
      const finished = await cluster.nearcast(words)
      show(`$ nearcast ${words.join(' ')}\n${said(finished)}`)
      return finished.stdout
    }
    check((await type(['redis', 'plans'])).includes('small'), 'There are no plans.')
    const { url } = await cluster.json<{ readonly url: string }>(['redis', 'create', '--org', 'acme', '--name', 'planned', '--region', 'mad', '--plan', 'small'])
    const ask = async (line: string): Promise<string> => {
      const finished = await cluster.onAppHost('acme', 'mad', line.replace('redis-cli', 'redis-cli --no-auth-warning -u "$URL"'), { URL: url })
      show(`acme in mad> ${line}\n${said(finished)}`)
      return finished.stdout
    }
    const many = `yes 'incr n' | head -400 | redis-cli | sort | uniq -c | sort -rn | head -1`
    const large = 'head -c 2000000 /dev/zero | redis-cli -x set large'
    check((await ask(many)).includes('ERR max commands per second exceeded. Limit: 100.'), 'More commands than the plan allows were not refused.')
    check((await ask(large)).includes('ERR max request size exceeded. Limit: 1048576 bytes'), 'A command larger than the plan allows was not refused.')
    const status = await type(['redis', 'why-slow', 'planned', '--org', 'acme'])
    check(/commandsPerSecond 100: met \d+ times/.test(status), 'The limits that were met are not shown.')
    await cluster.json(['redis', 'set', 'planned', '--org', 'acme', '--plan', 'large'])
    check((await ask(large)).trim() === 'OK', 'The larger plan refuses it, too.')
    await cluster.nearcast(['redis', 'destroy', 'planned', '--org', 'acme', '--yes'])
  },
}
