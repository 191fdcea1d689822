/** The cluster belongs to whoever starts it: no step of the story needs root. */
import { spawn } from 'node:child_process'
import t from 'tap'
import { AS_USER, Cluster, eventually, finish, nodeAt } from '../support/cluster.ts'
import type { Database } from '../support/cluster.ts'
import { Room } from '../support/room.ts'

const NOBODY = 65_534
const room = await Room.open()
t.teardown(() => room.close())
// Who isn't root already is ordinary enough.
const ordinary = process.getuid?.() === 0 ? ['setpriv', '--reuid', String(NOBODY), '--regid', String(NOBODY), '--clear-groups', '--'] : []
const { env } = room

await t.test('npm start, create, set, get, refused', async (t) => {
  const before = room.look()
  const cluster = await Cluster.start({ starter: 'npm', topology: 'pair', prefix: [...room.prefix, ...ordinary], root: room.repository, env })
  t.teardown(() => cluster.end())
  const uid = await finish(spawn('ps', ['-o', 'euid=', '-p', String(cluster.process('process 1'))]))
  t.not(uid.stdout.trim(), '0', 'the whole cluster runs without root')
  const cache = await cluster.json<Database>('redis', 'create', '--org', 'acme', '--name', 'cache', '--region', 'mad', '--replicas', 'ams')
  t.same(cache.provisioning?.missing, [], 'every proxy acknowledged')
  t.equal(await cluster.redis('acme/mad', cache, 'set', 'k', 'v'), 'OK', 'written in mad')
  await eventually('the replica has it', async () => (await cluster.redis('acme/ams', cache, 'get', 'k')) === 'v')
  t.match(await cluster.redis('acme/ams', cache, 'set', 'k', 'w'), /^READONLY/, 'ams read its own replica')
  const foreign = await cluster.run('globex/mad', ['redis-cli', '-h', cache.address, 'ping'])
  t.not(foreign.code, 0, 'another organization is refused')
  t.match(foreign.stderr + foreign.stdout, /reset|refused|closed/i, 'at once')
  const forward = cluster.facts.forward ?? { host: '', port: 0 }
  const demo = cluster.facts.databases[0]
  const outside = room.run(...ordinary, 'redis-cli', '-h', forward.host, '-p', String(forward.port), '--no-auth-warning', '-a', demo?.password ?? '', 'ping')
  t.equal(outside.trim(), 'PONG', "the user's own shell reaches the demo database")
  await cluster.end()
  const after = room.look()
  for (const [what, list] of Object.entries(before)) t.same(after[what], list, `no ${what} left`)
})

await t.test("another user's cluster is out of reach", { skip: ordinary.length === 0 && 'needs root to be two users' }, async (t) => {
  const cluster = await Cluster.start({ topology: 'single', prefix: [...room.prefix, ...ordinary], root: room.repository, env })
  t.teardown(() => cluster.end())
  const status = [nodeAt(room.repository), 'bin/nearcast.mjs', '--cluster', cluster.name, 'dev', 'status']
  const { code, stderr } = await finish(spawn('nsenter', [...room.prefix.slice(1), ...AS_USER, '-C', room.repository, ...status]))
  t.equal(code, 1, 'an error')
  t.match(stderr, /^dev\.not-running: No cluster named "\w+" runs for this user/, 'that says whose clusters were looked for')
})

await t.test('where user namespaces are forbidden it exits with the one command that would allow them', async (t) => {
  const forbid = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
  const words = ['--user', '--map-root-user', '--', 'sh', '-euc', forbid, 'sh', process.execPath, 'bin/nearcast.mjs', 'dev', '--cluster', 'forbidden']
  const { code, stdout, stderr } = await finish(spawn('unshare', words))
  t.equal(code, 1, 'exit code')
  t.equal(stdout, '', 'nothing was begun')
  t.equal(stderr.trim().split('\n').length, 1, 'one line')
  t.match(stderr, /^dev\.user-namespaces: .*sudo sysctl -w user\.max_user_namespaces=15000\n$/, 'it names the command')
})
