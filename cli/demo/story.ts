/**
 * The story that Nearcast promises, as steps that run for real. Each step types what a user would type, shows what
 * came back, and fails with one sentence. Order matters: later steps use what earlier ones made.
 */
import type { Finished } from './cluster.ts'
import { run } from './cluster.ts'
import { BACKBONE_STEP } from './backbone-step.ts'
import { POSTGRES_STEP } from './postgres-step.ts'
import { REDIS_ACCESS_STEP } from './redis-access-step.ts'
import { REDIS_BACKUP_STEP } from './redis-backup-step.ts'
import { REDIS_IMPORT_STEP } from './redis-import-step.ts'
import { REDIS_LIMITS_STEP } from './redis-limits-step.ts'
import { REDIS_IDLE_STEP, REDIS_WOKEN_STEP } from './redis-rest-steps.ts'
import type { Step, StepContext } from './step.ts'
import { check, said, until } from './step.ts'
import { WIREGUARD_STEP } from './wireguard-step.ts'

interface Redis {
  readonly url: string
  readonly address: string
  readonly port: number
  readonly provisioning?: { readonly ms: number; readonly proxies: readonly { readonly id: string; readonly ms: number }[]; readonly missing: readonly string[] }
}

interface Explained {
  readonly verdict: { readonly allowed: boolean; readonly reason?: string }
  readonly chosen?: string
  readonly why: string
  readonly candidates: readonly { readonly node: string; readonly region: string; readonly latencyMs: number | null; readonly healthy: boolean; readonly available: boolean }[]
}

const REGIONS = ['mad', 'ams', 'gru'] as const
/** Runs redis-cli on acme's app host and shows the line and its answer. */
async function redis(context: StepContext, region: string, command: string, org = 'acme', url = context.memory.url): Promise<string> {
  const finished = await context.cluster.onAppHost(org, region, `redis-cli --no-auth-warning -u "$URL" ${command}`, { URL: url })
  context.show(`${org} in ${region}> ${command}\n${said(finished)}`)
  return finished.stdout.trim()
}

/** The region whose engine answers a connection from `region`, quietly. */
async function servedBy(context: StepContext, region: string, org = 'acme'): Promise<string> {
  const finished = await context.cluster.onAppHost(org, region, `redis-cli --no-auth-warning -u "$URL" info server`, { URL: context.memory.url })
  const runId = /run_id:(\w+)/.exec(finished.stdout)?.[1]
  check(runId !== undefined, `acme/cache didn't answer in ${region}: ${said(finished)}`)
  return [...context.memory.engines].find(([, id]) => id === runId)?.[0] ?? 'unknown'
}

/** A host's address between the regions. */
async function underlay(context: StepContext, host: string): Promise<string> {
  const finished = await context.cluster.onHost(host, "ip -6 -o addr show dev eth0 scope global | awk '{print $4}' | cut -d/ -f1")
  const address = finished.stdout.trim()
  check(address !== '', `${host} has no address: ${said(finished)}`)
  return address
}

async function dev(context: StepContext, ...args: string[]): Promise<void> {
  const finished = await context.cluster.nearcast(['dev', ...args])
  context.show(`$ nearcast dev ${args.join(' ')}`)
  check(finished.code === 0, `nearcast dev ${args.join(' ')}: ${said(finished)}`)
}

const explain = (context: StepContext, from: string, to = context.memory.address): Promise<Explained> =>
  context.cluster.ask<Explained>('/v1/explain', { from, to })

/** One failure of gru's way to its own node: the next connection is served elsewhere without an error, later by gru again. */
async function failover(context: StepContext, breakIt: string[], mendIt: string[]): Promise<void> {
  await dev(context, ...breakIt)
  const started = performance.now()
  const other = await servedBy(context, 'gru')
  context.show(`the next connection from gru was served by ${other} after ${(performance.now() - started).toFixed(0)} ms, command line included`)
  check(other !== 'gru' && other !== 'unknown', `gru's own node answered although it was broken (${other}).`)
  await dev(context, ...mendIt)
  const ms = await until('gru is chosen again', async () => (await explain(context, 'acme/gru')).chosen === 'gru-1')
  context.show(`gru's own node was chosen again after ${(ms / 1000).toFixed(1)} s`)
}

/** Engines get a new run_id when they start again. */
async function learnEngines(context: StepContext): Promise<void> {
  await Promise.all(
    REGIONS.map(async (region) => {
      const finished = await context.cluster.onAppHost('acme', region, `redis-cli --no-auth-warning -u "$URL" info server`, { URL: context.memory.url })
      const runId = /run_id:(\w+)/.exec(finished.stdout)?.[1]
      if (runId !== undefined) context.memory.engines.set(region, runId)
    }),
  )
}

async function refused(context: StepContext, what: string, finished: Finished): Promise<void> {
  context.show(`${what}: ${said(finished).split('\n')[0] ?? ''}`)
  check(finished.code !== 0, `${what} went through: ${said(finished)}`)
}

/** One ping that waits a second. */
const pings = (address: string): string => `ping -6 -c 1 -W 1 ${address}`

/** A TCP dial that ends by itself; redis-cli exits with an error when it can't connect. */
const dial = (address: string, port: number): string => `timeout 2 redis-cli -h ${address} -p ${port} ping`

export const STORY: readonly Step[] = [
  {
    name: 'links',
    title: 'The links have the times of the topology: ping and connect confirm them',
    async run(context) {
      const address = await underlay(context, 'gru-1')
      let shortest = Infinity
      // A busy machine and the first handshake of the backbone add to a round trip, nothing takes from it: the shortest one is
      // the link's.
      await until('gru-1 answers in about 190 ms', async () => {
        const finished = await context.cluster.onHost('mad-1', `ping -6 -n -c 5 -i 0.2 ${address}`)
        shortest = Math.min(shortest, Number(/= ([\d.]+)\//.exec(finished.stdout)?.[1] ?? Infinity))
        return shortest < 205
      })
      context.show(`mad-1> ping gru-1: ${shortest} ms at least (topology: 190 ms)`)
      check(shortest > 185, `Expected about 190 ms, measured ${shortest}.`)
    },
  },
  {
    name: 'create',
    title: 'One command mints an address and makes the database in three regions',
    async run(context) {
      const args = ['redis', 'create', '--org', 'acme', '--name', 'cache', '--region', 'mad', '--replicas', 'ams,gru', '--append-fsync', 'always']
      const database = await context.cluster.json<Redis>(args)
      const waited = database.provisioning
      context.show(`$ nearcast ${args.join(' ')}\naddress ${database.address} port ${database.port}`)
      context.show((waited?.proxies ?? []).map((proxy) => `${proxy.id} ${proxy.ms.toFixed(1)} ms`).join('  '))
      check(waited !== undefined && waited.missing.length === 0 && waited.proxies.length === 4, 'Not every proxy acknowledged.')
      context.memory.url = database.url
      context.memory.address = database.address
    },
  },
  REDIS_IDLE_STEP,
  {
    name: 'set-get',
    title: 'Written in Madrid, read in São Paulo on its own node',
    async run(context) {
      // Until every proxy has measured every node, a write may meet a replica.
      await until('every region answers from its own node', async () => {
        const chosen = await Promise.all(REGIONS.map(async (region) => (await explain(context, `acme/${region}`)).chosen))
        return chosen.every((node, index) => node === `${REGIONS[index]}-1`)
      })
      check((await redis(context, 'mad', 'set k v')) === 'OK', 'The write was not acknowledged.')
      const ms = await until('the replica has the key', async () => (await redis({ ...context, show: () => {} }, 'gru', 'get k')) === 'v')
      check((await redis(context, 'gru', 'get k')) === 'v', 'The read answered something else.')
      context.show(`on the replica ${ms.toFixed(0)} ms after the write was acknowledged, command line included`)
      // A probe that comes late on a busy machine sends a region elsewhere for a moment.
      await until('the three regions are served by three engines', async () => {
        await learnEngines(context)
        return new Set(context.memory.engines.values()).size === 3
      })
    },
  },
  {
    name: 'replica-readonly',
    title: "A write on the replica's side answers Redis's READONLY",
    async run(context) {
      check((await redis(context, 'gru', 'set k w')).startsWith('READONLY'), 'The replica took a write.')
    },
  },
  {
    name: 'outside',
    title: "The user's own shell reaches the demo database through 127.0.0.1",
    async run(context) {
      const { forward, databases } = context.cluster.facts
      const demo = databases.find((database) => database.org === 'acme')
      check(forward !== undefined && forward !== null && demo !== undefined, 'The cluster offers no forwarded port.')
      const finished = await run('redis-cli', ['-h', forward.host, '-p', String(forward.port), '--no-auth-warning', '-a', demo.password, 'ping'])
      context.show(`$ redis-cli -h ${forward.host} -p ${forward.port} -a … ping\n${said(finished)}`)
      check(finished.stdout.trim() === 'PONG', 'No PONG.')
    },
  },
  {
    name: 'explain',
    title: 'The proxy explains its choice from the tables its data path reads',
    async run(context) {
      const finished = await context.cluster.nearcast(['explain', '--from', 'acme/gru', '--to', 'cache.flycast'])
      context.show(`$ nearcast explain --from acme/gru --to cache.flycast\n${finished.stdout.trim()}`)
      const explained = await explain(context, 'acme/gru')
      check(explained.chosen === 'gru-1' && explained.candidates.length === 3, `Chosen: ${explained.chosen}.`)
    },
  },
  {
    name: 'wall-foreign',
    title: "globex's app host can't reach acme's address: refused, counted, logged with both networks",
    async run(context) {
      await refused(context, `globex in mad> redis-cli -h ${context.memory.address} ping`, await context.cluster.onAppHost('globex', 'mad', dial(context.memory.address, 6379)))
      const log = await context.cluster.nearcast(['dev', 'logs', 'mad-2/proxy'])
      const line = log.stdout.split('\n').findLast((each) => each.includes('foreign-network'))
      check(line !== undefined, 'The refusal is not in the log.')
      context.show(line)
      const metrics = await context.cluster.nearcast(['dev', 'metrics', 'mad-2/proxy'])
      const counted = metrics.stdout.split('\n').find((each) => each.startsWith('nearcast_proxy_') && each.includes('foreign-network'))
      check(counted !== undefined && Number(counted.split(' ').at(-1)) >= 1, 'The refusal is not counted.')
      context.show(counted)
      const why = await explain(context, 'globex/mad')
      check(!why.verdict.allowed && why.verdict.reason === 'foreign-network', 'explain does not say foreign-network.')
      context.show(why.why)
    },
  },
  {
    name: 'tls',
    beside: true,
    title: 'redis:// and rediss:// share a port; a name that no certificate is for is refused',
    async run(context) {
      const { cluster, show } = context
      const args = ['redis', 'create', '--org', 'acme', '--name', 'safe', '--region', 'mad', '--tls', 'auto']
      const { env } = await cluster.json<Redis & { readonly env: { readonly REDIS_URL: string; readonly REDIS_TLS_URL: string } }>(args)
      show(`$ nearcast ${args.join(' ')}`)
      const ask = async (what: string, options: string, url: string): Promise<string> => {
        const finished = await cluster.onAppHost('acme', 'mad', `redis-cli --no-auth-warning ${options} -u "$URL" ping`, { URL: url })
        show(`acme in mad> redis-cli ${what} ping\n${said(finished)}`)
        return said(finished)
      }
      check((await ask('-u redis://…@safe.flycast', '', env.REDIS_URL)) === 'PONG', 'No PONG without TLS.')
      check((await ask('--cacert /run/nearcast/ca.pem --sni safe.flycast -u rediss://…@safe.flycast', '--cacert /run/nearcast/ca.pem --sni safe.flycast', env.REDIS_TLS_URL)) === 'PONG', 'No PONG with TLS.')
      check((await ask('--sni elsewhere.example -u rediss://…', '--sni elsewhere.example', env.REDIS_TLS_URL)).includes('unrecognized name'), 'A wrong name was not refused.')
      const handshake = await cluster.onAppHost(
        'acme',
        'mad',
        'echo | openssl s_client -connect safe.flycast:6379 -servername safe.flycast -verify_hostname safe.flycast -verify_return_error 2>&1',
      )
      const facts = handshake.stdout.split('\n').filter((line) => /^(New, TLS|Verification|Verified)/.test(line))
      show(`acme in mad> openssl s_client -connect safe.flycast:6379 -verify_hostname safe.flycast\n${facts.join('\n')}`)
      check(facts.includes('Verification: OK'), `The certificate doesn't verify: ${said(handshake)}`)
      await cluster.nearcast(['redis', 'destroy', 'safe', '--org', 'acme', '--yes'])
    },
  },
  {
    name: 'wall-kernel',
    beside: true,
    title: 'Spoofed source, foreign ping, closed ports, data node and neighbours: nothing passes',
    async run(context) {
      const { cluster, memory } = context
      const own = (await cluster.onAppHost('acme', 'mad', "ip -6 -o addr show dev eth0 scope global | awk '{print $4}' | cut -d/ -f1")).stdout.trim()
      check(own !== '', "acme's app host has no address.")
      const spoof = `ip -6 addr add ${own} dev eth0 nodad; ip -6 route replace default via fe80::1 dev eth0 src ${own}; ${dial(memory.address, 6379)}`
      const node = await underlay(context, 'mad-1')
      const gateway = 'fe80::1%eth0'
      // The spoofer's host keeps the stolen address: no later step uses it.
      const attempts: readonly (readonly [string, Promise<Finished>])[] = [
        [`globex root takes ${own} as its source`, cluster.onAppHost('globex', 'ams', spoof)],
        ['globex pings acme', cluster.onAppHost('globex', 'mad', pings(memory.address))],
        ['acme dials a closed port', cluster.onAppHost('acme', 'mad', dial(memory.address, 6380))],
        [`acme dials the data node's hop port at ${node}`, cluster.onAppHost('acme', 'mad', dial(node, 7400))],
        [`acme pings the data node at ${node}`, cluster.onAppHost('acme', 'mad', pings(node))],
        [`acme dials its next hop ${gateway}`, cluster.onAppHost('acme', 'mad', dial(gateway, 7400))],
        [`mad's data node dials acme's app host ${own}`, cluster.onHost('mad-1', dial(own, 22))],
        ["mad's data node pings acme's app host", cluster.onHost('mad-1', pings(own))],
      ]
      for (const [what, attempt] of attempts) await refused(context, what, await attempt)
      const dropped = await cluster.nearcast(['dev', 'metrics', 'ams-1/proxy'])
      context.show(dropped.stdout.split('\n').find((line) => /guard|ingress/.test(line) && /source/.test(line) && !line.startsWith('#')) ?? '')
    },
  },
  {
    name: 'two-tenants',
    beside: true,
    title: "Two orgs' databases of one name on one node never see each other's keys",
    async run(context) {
      const other = await context.cluster.json<Redis>(['redis', 'create', '--org', 'globex', '--name', 'cache', '--region', 'mad'])
      context.memory.globexUrl = other.url
      check((await redis(context, 'mad', 'get k', 'globex', other.url)) === '', "globex read acme's key.")
      check((await redis(context, 'mad', 'set k globex', 'globex', other.url)) === 'OK', 'globex can not write.')
      check((await redis(context, 'mad', 'get k')) === 'v', "globex's write reached acme.")
    },
  },
  POSTGRES_STEP,
  REDIS_ACCESS_STEP,
  REDIS_BACKUP_STEP,
  REDIS_IMPORT_STEP,
  REDIS_LIMITS_STEP,
  WIREGUARD_STEP,
  BACKBONE_STEP,
  {
    name: 'grant',
    beside: true,
    title: "A grant gives globex an address of acme's database on globex's own network; revoking it takes the address away everywhere",
    async run(context) {
      const { cluster, memory } = context
      const grant = await cluster.json<{ readonly id: string }>(['grants', 'create', '--org', 'acme', '--service', 'cache', '--to', 'globex'])
      const { address } = await cluster.json<{ readonly address: string }>(['addresses', 'create', '--org', 'globex', '--service', 'acme/cache'])
      const ping = `timeout 3 redis-cli -h ${address} --no-auth-warning -a "$PW" ping`
      const PW = new URL(memory.url).password
      const answered = await cluster.onAppHost('globex', 'mad', ping, { PW })
      context.show(`globex in mad> redis-cli -h ${address} ping\n${said(answered)}`)
      check(answered.stdout.trim() === 'PONG', 'The granted address did not answer.')
      // A client at the limit of one waits for its turn for a second, and is then reset.
      await cluster.json(['limits', 'set', address, '--org', 'acme', '--max-connections', '1'])
      const first = `(echo ping; sleep 2.5) | redis-cli -h ${address} --no-auth-warning -a "$PW" > "$said" 2>&1 &`
      const second = `said=$(mktemp); ${first} for i in $(seq 40); do grep -q PONG "$said" && break; sleep 0.05; done; rm "$said"; ${ping}`
      await refused(context, 'globex opens a second connection where the limit is one', await cluster.onAppHost('globex', 'mad', second, { PW }))
      const revoked = await cluster.nearcast(['grants', 'revoke', grant.id, '--org', 'acme'])
      context.show(`$ nearcast grants revoke ${grant.id} --org acme\n${said(revoked)}`)
      await refused(context, 'globex after that', await cluster.onAppHost('globex', 'mad', ping, { PW }))
    },
  },
  {
    name: 'agent-stopped',
    title: "With gru's agent stopped the next connection goes to the next nearest",
    run: (context) => failover(context, ['stop', 'gru/agent'], ['start', 'gru/agent']),
  },
  {
    name: 'agent-paused',
    title: "With gru's agent paused (the kernel still accepts) the next connection goes elsewhere",
    async run(context) {
      await learnEngines(context)
      await failover(context, ['pause', 'gru/agent'], ['resume', 'gru/agent'])
    },
  },
  {
    name: 'node-blackholed',
    title: "With mad's node blackholed (SYN dropped) mad-2 goes to the next nearest",
    async run(context) {
      const demo = context.cluster.facts.databases.find((database) => database.org === 'globex')
      check(demo !== undefined, 'globex has no demo database.')
      const chosen = async (): Promise<string | undefined> => (await explain(context, 'globex/mad', demo.address)).chosen
      await until('mad is chosen', async () => (await chosen()) === 'mad-1')
      await dev(context, 'blackhole', 'mad-1/agent')
      check((await redis(context, 'mad', 'ping', 'globex', demo.url)) === 'PONG', 'The client saw an error.')
      await until('another node is chosen', async () => (await chosen()) !== 'mad-1')
      await dev(context, 'restore', 'mad-1/agent')
      const ms = await until('mad is chosen again', async () => (await chosen()) === 'mad-1')
      context.show(`mad's node was chosen again after ${(ms / 1000).toFixed(1)} s`)
    },
  },
  {
    name: 'tenant-crash-loop',
    title: "With acme/cache crash-looping on gru's healthy node only acme/cache skips it",
    async run(context) {
      await learnEngines(context)
      await dev(context, 'break', 'gru/redis:acme/cache')
      const other = await servedBy(context, 'gru')
      context.show(`acme/cache in gru was served by ${other}`)
      check(other !== 'gru', 'The crash-looping engine answered.')
      const demo = context.cluster.facts.databases.find((database) => database.org === 'acme')
      check(demo !== undefined, 'acme has no demo database.')
      const neighbour = await explain(context, 'acme/gru', demo.address)
      context.show(`acme/demo in gru: ${neighbour.why}`)
      check(neighbour.chosen === 'gru-1', 'A healthy neighbour was skipped too.')
      await dev(context, 'start', 'gru/redis:acme/cache')
      await until('gru is chosen again', async () => (await explain(context, 'acme/gru')).chosen === 'gru-1')
    },
  },
  {
    name: 'link-delay',
    title: 'A change of link times at run time moves the choice',
    async run(context) {
      await dev(context, 'stop', 'gru/agent')
      // Clearly nearer than ams (210 ms): what was chosen before stays where the difference is small.
      await dev(context, 'link', 'mad-gru', '--rtt', '120ms')
      await until('mad (120 ms) is the next nearest', async () => (await explain(context, 'acme/gru')).chosen === 'mad-1')
      await dev(context, 'link', 'mad-gru', '--rtt', '300ms')
      await until('ams (210 ms) is now nearer', async () => (await explain(context, 'acme/gru')).chosen === 'ams-1')
      context.show((await explain(context, 'acme/gru')).why)
      await dev(context, 'link', 'mad-gru', '--rtt', '190ms')
      await dev(context, 'start', 'gru/agent')
      await until('gru is chosen again', async () => (await explain(context, 'acme/gru')).chosen === 'gru-1')
    },
  },
  {
    name: 'kill-under-load',
    title: 'SIGKILL of any one process under load loses no acknowledged write and heals by itself',
    async run(context) {
      for (const victim of ['mad-1/agent', 'mad-1/proxy', 'mad-1/router', 'mad/redis:acme/cache']) {
        const key = victim.replaceAll(/[^a-z0-9]/g, '-')
        // A new connection per write: each one tests the way in, too. 'timeout' bounds a client whose server died.
        const script = `i=0; while [ $i -lt 120 ]; do i=$((i+1)); [ "$(timeout 2 redis-cli --no-auth-warning -u "$URL" sadd ${key} $i 2>/dev/null)" = 1 ] && echo $i; done`
        const writer = context.cluster.onAppHost('acme', 'mad', script, { URL: context.memory.url })
        await new Promise((resolve) => {
          setTimeout(resolve, 400)
        })
        await dev(context, 'kill', victim)
        const acknowledged = (await writer).stdout.trim().split('\n').filter(Boolean)
        // Until it is healed a replica may answer, with READONLY.
        await until(`acme/cache writes again after ${victim}`, async () => /^[01]$/.test(await redis({ ...context, show: () => {} }, 'mad', `sadd ${key} healed`)))
        await until(`mad serves itself after ${victim}`, async () => (await explain(context, 'acme/mad')).chosen === 'mad-1')
        // Whoever answers with the last write answers with all before it; a replica may still be on its way there.
        let kept = new Set<string>()
        await until(`what was written is read after ${victim}`, async () => {
          kept = new Set((await redis({ ...context, show: () => {} }, 'mad', `smembers ${key}`)).split('\n').map((line) => line.trim()))
          return kept.has('healed')
        })
        const lost = acknowledged.filter((member) => !kept.has(member))
        context.show(`${victim} killed: ${acknowledged.length} of 120 writes acknowledged, ${lost.length} of them lost`)
        check(acknowledged.length > 20 && lost.length === 0, `${victim}: ${acknowledged.length} acknowledged, ${lost.length} lost.`)
      }
    },
  },
  REDIS_WOKEN_STEP,
]
