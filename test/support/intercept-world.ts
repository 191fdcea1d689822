/**
 * A proxy's host and a client's, as two network namespaces, in which connections are intercepted: what
 * test/interop/intercept.test.ts judges. Runs as (mapped) root in a network namespace of its own; prints one JSON line.
 *
 *   client fdaa:0:1:2::5 ── c0 ── app0 (fe80::1) host: nftables, one listener
 */
import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { promisify } from 'node:util'
import { asNetworkId, formatIpv6 } from '../../lib/address.ts'
import { runCommand } from '../../lib/host-command.ts'
import { createLogger } from '../../lib/log.ts'
import { choosePlane } from '../../lib/plane/choose.ts'
import type { Brain } from '../../lib/plane/plane.ts'
import { probeTransparent } from '../../lib/kernel/transparent.ts'
import { chooseIntercept } from '../../proxy/host/interception.ts'
import { HostWall } from '../../proxy/host/wall.ts'
import { OneListener } from '../../proxy/one-listener.ts'
import { Routes } from '../../proxy/routes.ts'

const PREFIX = 0xfdaa
const ADDRESS = 'fdaa:0:1:0:1::7'
/** More than a proxy would have listeners for. */
const SERVICE_PORTS = [6379, ...Array.from({ length: 99 }, (_, index) => 40_001 + index)]
const OTHERS_PORT = 9999

/** Node's answer to each of these destinations, from the client's side: what came, or the error's code. */
const CLIENT = `
const { connect } = require('node:net')
const dial = ([host, port]) => new Promise((resolve) => {
  let text = ''
  const socket = connect({ host, port }, () => {}).on('data', (data) => (text += data)).on('error', ({ code }) => resolve(code))
  socket.on('close', () => resolve(text === '' ? 'nothing' : text)).setTimeout(5000, () => socket.destroy())
})
Promise.all(JSON.parse(process.argv[1]).map(dial)).then((answers) => process.stdout.write(JSON.stringify(answers)))
`

const log = createLogger('test', 'silent')
const wanted = process.argv[2] === 'uring' ? 'uring' : 'portable'
const neighbour = spawn('unshare', ['--net', 'sh', '-c', 'echo; exec sleep 1000'], { stdio: ['pipe', 'pipe', 'inherit'] })
await once(neighbour.stdout, 'data')
const there = ['--net', `--target=${neighbour.pid}`]
const sh = (script: string): void => {
  const { status, stderr } = spawnSync('sh', ['-euc', script], { encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
}
sh(`ip link set lo up; ip link add app0 type veth peer name c0; ip link set c0 netns ${neighbour.pid}
ip addr add fe80::1/64 dev app0 nodad; ip link set app0 up; ip -6 route add fdaa:0:1:2::/64 dev app0
nsenter ${there.join(' ')} sh -euc 'ip link set lo up; ip addr add fdaa:0:1:2::5/64 dev c0 nodad; ip link set c0 up; ip -6 route add default via fe80::1 dev c0'`)
const dialFromClient = async (destinations: readonly (readonly [string, number])[]): Promise<string[]> => {
  const { stdout } = await promisify(execFile)('nsenter', [...there, process.execPath, '-e', CLIENT, JSON.stringify(destinations)])
  return JSON.parse(stdout) as string[]
}

const intercept = await chooseIntercept({ wanted: 'auto', manageHost: true, prefix: PREFIX, run: runCommand, probe: probeTransparent })
const wall = new HostWall({ prefix: PREFIX, ingress: [{ interface: 'app0', network: asNetworkId(1) }], intercept: intercept.kind, run: runCommand, log })
await wall.install()
const routes = new Routes(PREFIX)
routes.putNetwork(1, { id: 1, org: 'o', name: 'n' })
routes.putAddress(ADDRESS, { address: ADDRESS, network: 1, generation: 1, service: 's' })
const brain = (): Brain => ({
  on(event) {
    if (event.type !== 'accepted' || event.source === null || event.destination === null) return []
    const { source, destination } = event
    routes.putService('s', { id: 's', org: 'o', name: 's', kind: 'tcp', port: SERVICE_PORTS.includes(destination.port) ? destination.port : 1, placements: [] })
    if (!routes.decide(source.ip, destination.ip, destination.port).allowed) return [{ type: 'reset' }]
    const bytes = Buffer.from(`${formatIpv6(source.ip)} ${formatIpv6(destination.ip)} ${destination.port}`)
    return [{ type: 'write', side: 'client', bytes }, { type: 'close' }]
  },
})
const { plane } = choosePlane(wanted)
const listener = new OneListener({ plane, accept: { brain }, log, handTo: (port) => wall.handTo(port) })
// Others' sockets of the host, which clients must never meet.
const others = createServer((socket) => socket.end('the wrong one'))
others.listen({ host: '::', port: OTHERS_PORT })
await once(others, 'listening')

const before = await dialFromClient([[ADDRESS, 6379]])
const failed = await listener.open(SERVICE_PORTS)
await wall.open(listener.ports())
const ping = (address: string): number | null => spawnSync('nsenter', [...there, 'ping', '-6', '-c', '1', '-W', '2', address]).status
const answers = await dialFromClient([
  [ADDRESS, 6379], [ADDRESS, 40_099],
  // A closed port, somebody else's, an unknown address, another network's, the host itself.
  [ADDRESS, 40_100], [ADDRESS, OTHERS_PORT], ['fdaa:0:1:0:1::8', 6379], ['fdaa:0:2:0:1::7', 6379],
])
const own = Number(/tproxy ip6 to :(\d+)/.exec(await runCommand('nft', ['list', 'chain', 'inet', 'nearcast', 'intercept']))?.[1])
const { promise: direct, resolve: settle } = Promise.withResolvers<string>()
connect({ host: '::1', port: own }).on('error', (error) => settle('code' in error ? String(error.code) : '')).on('close', () => settle('closed')).resume()
const report = { plane: plane.name, intercept, before, failed: failed.size, answers, direct: await direct, ping: ping(ADDRESS) }
await listener.closeExcept([])
const after = await dialFromClient([[ADDRESS, 6379], [ADDRESS, OTHERS_PORT]])
process.stdout.write(`${JSON.stringify({ ...report, after })}\n`)
wall.stop()
others.close()
await plane.destroy()
neighbour.kill('SIGKILL')
