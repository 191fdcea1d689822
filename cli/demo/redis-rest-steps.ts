/**
 * The two steps of the story about rest: a database is filled and left alone early, and asked for again at the end, a minute
 * later at least.
 */
import type { Step, StepContext } from './step.ts'
import { check, said, until } from './step.ts'

const KEYS = '10000'
/** Its agent is left alone in between, too: one that starts anew counts the minute anew. */
const REGION = 'ams'
/** A minute after the last connection, and the agent's next look. */
const REST_TIMEOUT_MS = 100_000

interface Use {
  readonly resting: boolean
  readonly diskBytes: number
}

const STATUS = ['redis', 'status', 'archive', '--org', 'acme']

async function use(context: StepContext): Promise<Use | undefined> {
  return (await context.cluster.json<{ readonly statistics: { readonly nodes: readonly Use[] } }>(STATUS)).statistics.nodes[0]
}

export const REDIS_IDLE_STEP: Step = {
  name: 'redis-idle',
  title: 'A database is filled, told to rest after a minute without a connection, and left alone',
  async run({ cluster, show, memory }) {
    const create = ['redis', 'create', '--org', 'acme', '--name', 'archive', '--region', REGION, '--plan', 'large', '--append-fsync', 'always']
    memory.idleUrl = (await cluster.json<{ readonly url: string }>(create)).url
    const park = ['redis', 'set', 'archive', '--org', 'acme', '--park', '1']
    await cluster.json(park)
    const fill = `eval "for i = 1, ${KEYS} do redis.call('set', 'k' .. i, i) end return 'filled'" 0`
    const filled = await cluster.onAppHost('acme', REGION, `redis-cli --no-auth-warning -u "$URL" ${fill}`, { URL: memory.idleUrl })
    show(`$ nearcast ${create.join(' ')}\n$ nearcast ${park.join(' ')}\nacme in ${REGION}> ${fill}\n${said(filled)}`)
    check(said(filled) === 'filled', 'The database was not filled.')
  },
}

export const REDIS_WOKEN_STEP: Step = {
  name: 'redis-woken',
  title: 'By now it rests on disk, without a process; the next command wakes it and never knows',
  async run(context) {
    const { cluster, show, memory } = context
    let seen: Use | undefined
    await until('it rests', async () => (seen = await use(context))?.resting === true, REST_TIMEOUT_MS)
    show(`$ nearcast ${STATUS.join(' ')}\nresting, ${seen?.diskBytes} bytes on disk`)
    const timed = 'begun=$(date +%s%N); redis-cli --no-auth-warning -u "$URL" dbsize; echo "$(( ($(date +%s%N) - begun) / 1000000 )) ms"'
    const woken = await cluster.onAppHost('acme', REGION, timed, { URL: memory.idleUrl })
    show(`acme in ${REGION}> dbsize\n${said(woken)}, command line and wake-up included`)
    check(woken.stdout.split('\n')[0] === KEYS, 'It does not hold what was written.')
    check((await use(context))?.resting === false, 'It answers, and is said to rest.')
    await cluster.nearcast(['redis', 'destroy', 'archive', '--org', 'acme', '--yes'])
  },
}
