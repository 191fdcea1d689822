/**
 * Hostile tenants on a node: one with its own password, and code that runs as its engine's uid, in its namespace. What they
 * try finds nothing of another tenant, of the agent or of the machine; as root the same attempts find it, so they are sound.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, symlinkSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { RespClient } from '../../agent/redis/resp/client.ts'
import { redisStatistics } from '../../lib/feed/questions.ts'
import { PASSWORD } from '../differential/run.ts'
import { databaseRow, DataNode } from '../support/data-node.ts'
import { Wire } from '../support/hop-dialer.ts'
import { encodeReply } from '../support/resp.ts'
import { until } from '../support/until.ts'

const HERE = [{ node: 'mad', role: 'primary' as const }]
const SECRET = 'what-only-the-victim-knows'
const VICTIM_PASSWORD = 'password-of-the-victim'
let node: DataNode
beforeAll(async () => {
  node = await new DataNode({ id: 'mad' }).listen()
  await node.feed(databaseRow('victim', HERE, VICTIM_PASSWORD, { appendFsync: 'always' }), databaseRow('hostile', HERE, PASSWORD))
  await node.available('victim')
  await node.available('hostile')
  expect(await told('victim', VICTIM_PASSWORD, ['SET', 'secret', SECRET], ['RPUSH', 'l', ...Array.from({ length: 300 }, () => SECRET)])).toEqual(['+OK', ':300'])
})
afterAll(() => node.close())

/** What its engine answers, behind the login. One by one: newer engines say nothing to a failed AUTH while an answer before it is on its way. */
async function told(service: string, password: string, ...commands: string[][]): Promise<string[]> {
  const client = new RespClient(node.engineSocket(service), { encoding: 'latin1' })
  const answers: string[] = []
  for (const words of [['AUTH', password], ...commands]) answers.push(encodeReply(await client.command(words, 10_000)).trim())
  client.close()
  return answers.slice(1)
}

/** Of others, of the agent, of the node. */
function foreign(): string[] {
  const hash = createHash('sha256').update(VICTIM_PASSWORD).digest('hex')
  const own = createHash('sha256').update(PASSWORD).digest('hex')
  return [SECRET, VICTIM_PASSWORD, hash, own, 'replication of', 'victim', node.directory, 'root:x:0']
}

const lua = (code: string): string[] => ['EVAL', code, '0']
/** By what they are after. */
const INSIDE: Readonly<Record<string, (place: { readonly aof: string; readonly socket: string }) => string[][]>> = {
  'Lua: files, programs, modules': ({ aof }) => [
    lua(`return io.open('${aof}'):read('*a')`), lua("return os.execute('id')"), lua("return os.getenv('PATH')"), lua(`return loadfile('${aof}')`), lua(`dofile('${aof}')`), lua("return require('os')"),
    lua("return package.loadlib('/lib/x86_64-linux-gnu/liblua5.1.so.0', 'luaopen_io')"), lua('return debug.getregistry()'), lua("return string.dump(function() end)"), lua("return loadstring('\\27Lua')()"),
    lua("return getfenv(0).io"), lua("return rawget(_G, 'io')"), lua("setmetatable(_G, nil) return io"), lua("return redis.setresp(3), print('x')"),
  ],
  'Lua: commands that are denied, by every way to say them': () =>
    [['CONFIG', 'GET', '*'], ['ACL', 'LIST'], ['DEBUG', 'JMAP'], ['MODULE', 'LIST'], ['CLIENT', 'LIST'], ['REPLICAOF', '127.0.0.1', '1']].flatMap((words) => {
      const list = words.map((word) => `'${word}'`).join()
      return [lua(`return redis.call(${list})`), lua(`return redis.pcall(${list})`), lua(`redis.replicate_commands() return redis.pcall(${list.toLowerCase()})`), ['MULTI'], words, ['EXEC']]
    }),
  'other engines and the network': ({ socket }) => [
    ['MIGRATE', socket, '0', 'k', '0', '1000'], ['MIGRATE', '127.0.0.1', '6379', '', '0', '1000', 'COPY', 'KEYS', 'k'], ['REPLICAOF', '::1', '6379'], ['SLAVEOF', socket, '0'], ['SYNC'], ['PSYNC', '?', '-1'],
    ['REPLCONF', 'GETACK', '*'], ['CLUSTER', 'MEET', '127.0.0.1', '6379'], ['FAILOVER', 'TO', '127.0.0.1', '6379'],
  ],
  'configuration, modules, memory': ({ aof }) => [
    ['CONFIG', 'SET', 'dir', '/tmp'], ['CONFIG', 'SET', 'dbfilename', aof], ['CONFIG', 'REWRITE'], ['CONFIG', 'GET', 'masterauth'], ['MODULE', 'LOAD', aof], ['MODULE', 'LOADEX', '/lib/x.so'], ['DEBUG', 'SET-ACTIVE-EXPIRE', '1'],
    ['DEBUG', 'LOADAOF'], ['DEBUG', 'CONFIG-REWRITE-FORCE-ALL'], ['PFDEBUG', 'GETREG', 'k'], ['SAVE'], ['BGSAVE'], ['BGREWRITEAOF'], ['SHUTDOWN', 'NOSAVE'], ['SCRIPT', 'DEBUG', 'YES'],
  ],
  'users, and who else is connected': () => [
    ['ACL', 'SETUSER', 'default', '+@all'], ['ACL', 'SETUSER', 'me', 'on', 'nopass', '~*', '+@all'], ['ACL', 'LOAD'], ['ACL', 'SAVE'], ['ACL', 'USERS'], ['ACL', 'GETUSER', 'nearcast-agent'], ['ACL', 'LOG'], ['ACL', 'DRYRUN', 'nearcast-agent', 'get', 'k'],
    ['AUTH', 'nearcast-agent', ''], ['AUTH', 'nearcast-agent', PASSWORD], ['AUTH', 'nearcast-replication', PASSWORD], ['AUTH', 'nearcast-trial', ''], ['HELLO', '3', 'AUTH', 'nearcast-agent', 'x'], ['HELLO', '2'],
    ['CLIENT', 'LIST'], ['CLIENT', 'KILL', 'TYPE', 'normal'], ['CLIENT', 'PAUSE', '1000'], ['CLIENT', 'NO-EVICT', 'ON'], ['CLIENT', 'SETNAME', 'a\nb'], ['CLIENT', 'TRACKING', 'ON', 'REDIRECT', '1', 'BCAST'], ['CLIENT', 'UNBLOCK', '1', 'ERROR'],
  ],
  'what a process says about itself': () => [
    ['INFO'], ['INFO', 'everything'], ['INFO', 'all', 'modules', '../../etc/passwd'], ['INFO', '/etc/passwd'], ['INFO', 'server', 'replication', 'persistence'], ['CLIENT', 'INFO'], ['ROLE'], ['MEMORY', 'STATS'], ['MEMORY', 'MALLOC-STATS'], ['MEMORY', 'DOCTOR'],
    ['LATENCY', 'DOCTOR'], ['SLOWLOG', 'GET', '-1'], ['LOLWUT'], ['FUNCTION', 'DUMP'], ['FUNCTION', 'LIST', 'WITHCODE'], ['COMMAND', 'DOCS', 'config'], ['PUBSUB', 'CHANNELS'], ['OBJECT', 'HELP'],
  ],
  'the keys of others': () => [['KEYS', '*'], ['SCAN', '0'], ['RANDOMKEY'], ['GET', 'secret'], ['SELECT', '15'], ['KEYS', '*'], ['SELECT', '16'], ['SWAPDB', '0', '1'], ['SELECT', '0'], ['DUMP', 'secret'], ['COPY', 'secret', 'mine'], ['EXISTS', 'secret']],
}

test.each(Object.keys(INSIDE))('a tenant who tries %s finds nothing of another', async (kind) => {
  const aof = aofOf('victim')
  const pid = node.enginePid('hostile')
  const commands = INSIDE[kind]?.({ aof, socket: node.engineSocket('victim') }) ?? []
  const answers = await told('hostile', PASSWORD, ...commands)
  expect(answers).toHaveLength(commands.length)
  for (const [index, answer] of answers.entries()) {
    for (const secret of foreign()) expect([commands[index], answer.toLowerCase().includes(secret.toLowerCase()) && !commands[index]?.join().includes(secret)]).toEqual([commands[index], false])
  }
  // What is denied was refused, not carried out without an answer.
  expect(answers.filter((answer) => answer.startsWith('-')).length).toBeGreaterThan(kind.startsWith('what') ? -1 : 1)
  expect([node.enginePid('hostile'), await told('hostile', PASSWORD, ['ACL', 'WHOAMI'], ['EXISTS', 'secret'])]).toEqual([pid, ['$7\r\ndefault', ':0']])
})

test('MONITOR shows a tenant what is said to its database, and no secret that the agent sets meanwhile', async () => {
  const watching = new Wire(node.engineSocket('hostile')).send(`AUTH ${PASSWORD}\r\nMONITOR\r\n`)
  await until('it watches', () => watching.text === '+OK\r\n+OK\r\n')
  const hash = createHash('sha256').update('further').digest('hex')
  await node.feed(databaseRow('hostile', HERE, PASSWORD, { replicationSecret: 'replication of tomorrow', users: [{ name: 'further', passwordSha256: hash, rules: ['~*', '+@all'] }], maxMemoryBytes: 40 << 20 }))
  await until('the change is in force', () => node.log.some((line) => line['live'] === true && line['service'] === 'hostile'))
  await told('hostile', PASSWORD, ['GET', 'seen'])
  await until('it has seen that', () => watching.text.includes('"GET" "seen"'))
  watching.socket.destroy()
  const seen = watching.text
  for (const secret of [...foreign(), 'tomorrow', hash, 'nearcast-agent']) expect([secret, seen.includes(secret)]).toEqual([secret, false])
})

/** Each prints something when it finds what it is after. `$own`: of the hostile tenant. */
const OUTSIDE: Readonly<Record<string, string>> = {
  "the victim's files": 'cat $victim/data/appendonlydir/*',
  'which databases there are': 'ls $data',
  "the victim's directory, by its own": 'ls $own/data/../../victim',
  'a link to the victim': 'ln -sf $victim/data/appendonlydir $own/data/link && cat $own/data/link/*; rm -f $own/data/link',
  "the victim's engine": 'redis-cli -s $victim/data/redis.sock --no-auth-warning -a $password GET secret',
  "the victim's environment": 'cat /proc/$pid/environ',
  "the victim's memory map": 'cat /proc/$pid/maps',
  "the victim's memory": 'start=$(head -n 1 /proc/$pid/maps | cut -d- -f1); dd if=/proc/$pid/mem bs=4096 count=1 skip=$((0x$start / 4096))',
  "the victim's open files": 'ls -l /proc/$pid/fd',
  "the victim's directory, by its process": 'ls /proc/$pid/cwd/',
  "the victim's namespaces": 'readlink /proc/$pid/ns/net',
  "the end of the victim's process": 'kill -0 $pid && echo it may',
  "the agent's files": 'ls $node',
  "the agent's note about its own database": 'ls $own/lock',
  "the agent's sockets": 'ls $node/hop.sock',
  "the agent's memory": 'cat /proc/$agent/maps',
}

test('code as a tenant’s uid, in its namespace, finds nothing of another, of the agent or of the network', async (context) => {
  const walls = await Promise.all(['uid', 'network', 'capabilities'].map((wall) => node.metric(`nearcast_agent_engine_wall{wall="${wall}"}`)))
  if (walls.some((wall) => wall !== 1)) {
    context.skip('this user may not give engines a uid and a namespace of their own')
    return
  }
  const names = Object.keys(OUTSIDE)
  const place = {
    victim: join(node.dataDir, 'victim'), own: join(node.dataDir, 'hostile'), data: node.dataDir, node: node.directory,
    password: VICTIM_PASSWORD, pid: node.enginePid('victim'), agent: process.pid,
  }
  const script = [
    ...Object.entries(place).map(([name, value]) => `${name}='${value}'`),
    ...Object.values(OUTSIDE).map((attempt, index) => `found=$( { ${attempt}; } 2>/dev/null | head -c 100 | tr -d '\\0'); [ -n "$found" ] && echo "${index}"`),
    'echo "net $(cat /proc/net/tcp /proc/net/tcp6 /proc/net/unix | grep -vcE "sl|Num|/data/redis.sock|redis.sock")"',
    'exit 0',
  ].join('\n')
  const uid = String(ownerOf('hostile'))
  expect(uid).not.toBe(String(ownerOf('victim')))
  const run = async (...prefix: string[]): Promise<string[]> => {
    return (await promisify(execFile)('env', [...prefix, 'sh', '-c', script], { cwd: '/', timeout: 15_000 })).stdout.split('\n').filter(Boolean)
  }
  const found = (lines: readonly string[]): string[] => lines.filter((line) => /^\d+$/.test(line)).map((line) => names[Number(line)] ?? '')
  expect(found(await run())).toEqual(names)
  const inside = await run('nsenter', '-t', String(node.enginePid('hostile')), '--net', 'setpriv', '--reuid', uid, '--regid', uid, '--clear-groups', '--no-new-privs', '--inh-caps=-all', '--bounding-set=-all')
  expect(found(inside)).toEqual([])
  expect(inside.at(-1)).toBe('net 0')
  // Links that such code lays in its own directory lead the agent nowhere.
  for (const [name, target] of [['machine', '/'], ['file', aofOf('victim')]] as const) symlinkSync(target, join(node.dataDir, 'hostile', 'data', name))
  const { diskBytes } = redisStatistics.parse(await node.agent.answer('redis.statistics', { service: 'hostile' }))
  expect(diskBytes).toBeLessThan(readFileSync(aofOf('victim')).length)
  for (const name of ['machine', 'file']) unlinkSync(join(node.dataDir, 'hostile', 'data', name))
})

/** What holds its writes. */
function aofOf(service: string): string {
  const directory = join(node.dataDir, service, 'data', 'appendonlydir')
  const file = join(directory, 'appendonly.aof.1.incr.aof')
  if (!existsSync(file)) throw new Error(`no ${file}`)
  return file
}

function ownerOf(service: string): number {
  return Number(/^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${node.enginePid(service)}/status`, 'utf8'))?.[1])
}
