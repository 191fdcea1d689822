/**
 * Our WireGuard device against wireguard-go, each in a network namespace of its own:
 *
 *   left: ours                                     right: wireguard-go
 *   wg0  fdaa:0:1:2::1/64      the tunnel          wg1  fdaa:0:1:2::2/64
 *   veth 10.99.0.1, fd99::1  ───────────────────   veth 10.99.0.2, fd99::2
 *
 * Skipped, with the reason, where namespaces or TUN interfaces can't be had.
 */
import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, afterEach, expect, test } from 'vitest'
import { clampPrivate, encodeKey, KeyPair } from '../../lib/wireguard/keys.ts'
import { nodeAt } from '../support/cluster.ts'
import { Room } from '../support/room.ts'
import type { WantedPath } from '../../lib/wireguard/wanted-path.ts'
import type { WireguardSettings } from '../support/wireguard-process.ts'

const PROCESS = 'test/support/wireguard-process.ts'
const PORT = 51820
const LEFT = { netns: 'left', ipv4: '10.99.0.1', ipv6: 'fd99::1', inside: 'fdaa:0:1:2::1' }
const RIGHT = { netns: 'right', ipv4: '10.99.0.2', ipv6: 'fd99::2', inside: 'fdaa:0:1:2::2' }
const TOPOLOGY = `
ip netns add left
ip netns add right
ip link add veth0 netns left type veth peer name veth0 netns right
for side in left:1 right:2; do
  ip -n \${side%:*} link set lo up
  ip -n \${side%:*} link set veth0 up
  ip -n \${side%:*} addr add 10.99.0.\${side#*:}/24 dev veth0
  ip -n \${side%:*} addr add fd99::\${side#*:}/64 dev veth0 nodad
done
mkdir -p /run/wireguard
`

let room: Room | null = null
const forbidden = await prepare()

/** @returns why not, or false. */
async function prepare(): Promise<string | false> {
  for (const program of ['unshare', 'wireguard-go', 'wg', 'ping']) {
    if (spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0) return `no ${program}`
  }
  try {
    room = await Room.open()
    room.run('sh', '-euc', TOPOLOGY)
    room.run(...inside(LEFT.netns), 'sh', '-c', 'ip tuntap add mode tun name probe && ip link del probe')
    return false
  } catch (error) {
    await room?.close()
    room = null
    return error instanceof Error ? error.message.trim().replaceAll('\n', ' ') : String(error)
  }
}

function inside(netns: string): string[] {
  return ['ip', 'netns', 'exec', netns]
}

const children: ChildProcess[] = []

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

function start(netns: string, ...command: string[]): ChildProcess & { readonly stdin: NodeJS.WritableStream; readonly stdout: NodeJS.ReadableStream } {
  if (room === null) throw new Error('no room')
  const [program = '', ...words] = [...room.prefix, ...inside(netns), ...command]
  const child = spawn(program, words, { stdio: ['pipe', 'pipe', 'inherit'] })
  children.push(child)
  return child
}

afterEach(async () => {
  await Promise.all(children.splice(0).map(end))
})
afterAll(async () => {
  await room?.close()
})

function run(netns: string, ...command: string[]): string {
  return room?.run(...inside(netns), ...command) ?? ''
}

const keyPair = (): { readonly privateKey: string; readonly publicKey: string } => {
  const privateKey = clampPrivate(new Uint8Array(randomBytes(32)))
  const text = encodeKey(privateKey)
  return { privateKey: text, publicKey: KeyPair.fromPrivate(privateKey).publicKey.text }
}
const [ourKeys, theirKeys] = [keyPair(), keyPair()]

interface Options {
  readonly presharedKey?: string
  /** Whether each knows where the other one is. */
  readonly weKnow?: boolean
  readonly theyKnow?: boolean
  readonly family?: 'ipv4' | 'ipv6'
  readonly keepaliveSeconds?: number
  readonly path?: WantedPath
}

interface Ours {
  readonly child: ChildProcess
  ask(): Promise<{ peers: { endpoint: { host: string } | null; lastHandshakeMs: number | null; receivedBytes: number }[] }>
}

async function startOurs({ presharedKey, weKnow = false, family = 'ipv4', keepaliveSeconds, path = 'auto' }: Options): Promise<Ours> {
  const settings: WireguardSettings = {
    privateKey: ourKeys.privateKey,
    port: PORT,
    path,
    address: `${LEFT.inside}/64`,
    peer: {
      publicKey: theirKeys.publicKey,
      allowedIps: [`${RIGHT.inside}/128`],
      ...(presharedKey !== undefined && { presharedKey }),
      ...(weKnow && { endpoint: { host: RIGHT[family], port: PORT } }),
      ...(keepaliveSeconds !== undefined && { persistentKeepaliveSeconds: keepaliveSeconds }),
    },
  }
  const root = room?.repository ?? ''
  const child = start(LEFT.netns, nodeAt(root), join(root, PROCESS), JSON.stringify(settings))
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  expect(await lines.next()).toMatchObject({ value: '{"ready":true}' })
  return {
    child,
    ask: async () => {
      child.stdin.write('?\n')
      const { value } = (await lines.next()) as { value: string }
      return JSON.parse(value) as Awaited<ReturnType<Ours['ask']>>
    },
  }
}

async function startTheirs({ presharedKey, theyKnow = false, family = 'ipv4', keepaliveSeconds }: Options): Promise<ChildProcess> {
  // A socket that was left behind would be tidied up by `wg`, perhaps in the moment in which the new one takes its place.
  run(RIGHT.netns, 'rm', '-f', '/run/wireguard/wg1.sock')
  // Its greeting recommends a kernel module.
  const child = start(RIGHT.netns, 'sh', '-c', 'exec wireguard-go -f wg1 2> /dev/null')
  const host = family === 'ipv6' ? `[${LEFT.ipv6}]` : LEFT.ipv4
  const known = `${theyKnow ? `endpoint ${host}:${PORT}` : ''} ${keepaliveSeconds === undefined ? '' : `persistent-keepalive ${keepaliveSeconds}`}`
  run(
    RIGHT.netns,
    'sh',
    '-euc',
    `for try in $(seq 200); do test -S /run/wireguard/wg1.sock && wg show wg1 > /dev/null 2>&1 && break; sleep 0.05; done
    umask 077; echo '${theirKeys.privateKey}' > /tmp/key; echo '${presharedKey ?? ''}' > /tmp/psk
    ip link set wg1 mtu 1420 up
    ip addr add ${RIGHT.inside}/64 dev wg1 nodad
    wg set wg1 listen-port ${PORT} private-key /tmp/key peer '${ourKeys.publicKey}' ${presharedKey === undefined ? '' : 'preshared-key /tmp/psk'} allowed-ips ${LEFT.inside}/128 ${known}`,
  )
  return child
}

/** Three answers of three, the first within `patienceSeconds`. */
function ping(from: typeof LEFT, to: typeof LEFT, patienceSeconds = 5): void {
  run(from.netns, 'sh', '-c', `for try in $(seq ${patienceSeconds}); do ping -6 -c 1 -W 1 ${to.inside} > /dev/null && break; done; ping -6 -c 3 -i 0.2 -W 2 ${to.inside}`)
}

const SERVER = `
const { createHash } = require('node:crypto')
require('node:net').createServer({ allowHalfOpen: true }, (socket) => {
  const hash = createHash('sha256')
  socket.on('data', (data) => hash.update(data)).on('end', () => socket.end(hash.digest('hex')))
}).listen(7000, process.argv[1], () => console.log('listening'))`
const CLIENT = `
const { createHash, randomBytes } = require('node:crypto')
const bytes = randomBytes(Number(process.argv[2]))
const socket = require('node:net').connect({ port: 7000, host: process.argv[1], allowHalfOpen: true })
let answer = ''
socket.on('data', (data) => answer += data).on('end', () => console.log(answer === createHash('sha256').update(bytes).digest('hex') ? 'whole' : 'broken'))
socket.end(bytes)`

/** Whole streams, one way and the other. */
async function transfer(from: typeof LEFT, to: typeof LEFT, bytes: number): Promise<void> {
  const node = nodeAt(room?.repository ?? '')
  const server = start(to.netns, node, '-e', SERVER, to.inside)
  await once(server.stdout, 'data')
  expect(run(from.netns, node, '-e', CLIENT, to.inside, String(bytes)).trim()).toBe('whole')
  await end(server)
}

const named = (name: string): string => `${name}${forbidden === false ? '' : ` (skipped: ${forbidden})`}`

test.skipIf(forbidden !== false).each(['auto', 'portable'] as const)(named('we begin: ping and TCP both ways, over IPv4, path %s'), async (path) => {
  await startTheirs({})
  const ours = await startOurs({ weKnow: true, path })
  ping(LEFT, RIGHT)
  ping(RIGHT, LEFT)
  await transfer(LEFT, RIGHT, 3_000_000)
  await transfer(RIGHT, LEFT, 3_000_000)
  const { peers } = await ours.ask()
  expect(peers[0]?.lastHandshakeMs).toBeTypeOf('number')
  expect(peers[0]?.receivedBytes).toBeGreaterThan(3_000_000)
})

test.skipIf(forbidden !== false)(named('they begin: a preshared key, over IPv6'), async () => {
  const presharedKey = encodeKey(randomBytes(32))
  await startTheirs({ theyKnow: true, presharedKey, family: 'ipv6' })
  const ours = await startOurs({ presharedKey, family: 'ipv6' })
  ping(RIGHT, LEFT)
  ping(LEFT, RIGHT)
  expect((await ours.ask()).peers[0]?.endpoint).toMatchObject({ host: RIGHT.ipv6 })
  await transfer(RIGHT, LEFT, 500_000)
})

test.skipIf(forbidden !== false)(named('a wrong preshared key lets nothing pass'), async () => {
  await startTheirs({ presharedKey: encodeKey(randomBytes(32)) })
  const ours = await startOurs({ weKnow: true, presharedKey: encodeKey(randomBytes(32)) })
  expect(() => run(LEFT.netns, 'ping', '-6', '-c', '2', '-i', '0.2', '-W', '1', RIGHT.inside)).toThrow()
  expect((await ours.ask()).peers[0]?.lastHandshakeMs).toBeNull()
})

test.skipIf(forbidden !== false)(named('roaming: either side gets another address'), async () => {
  const move = (side: typeof LEFT, from: string, to: string): void => {
    run(side.netns, 'sh', '-euc', `ip addr del ${from}/24 dev veth0; ip addr add ${to}/24 dev veth0`)
  }
  await startTheirs({})
  const ours = await startOurs({ weKnow: true })
  ping(LEFT, RIGHT)
  try {
    move(LEFT, LEFT.ipv4, '10.99.0.11')
    ping(LEFT, RIGHT)
    expect(run(RIGHT.netns, 'wg', 'show', 'wg1', 'endpoints')).toContain('10.99.0.11:51820')
    move(RIGHT, RIGHT.ipv4, '10.99.0.12')
    // wireguard-go keeps the source address that it had until its socket is made anew.
    run(RIGHT.netns, 'wg', 'set', 'wg1', 'listen-port', '51999')
    ping(RIGHT, LEFT)
    expect((await ours.ask()).peers[0]?.endpoint).toEqual({ host: '10.99.0.12', port: 51999 })
  } finally {
    move(LEFT, '10.99.0.11', LEFT.ipv4)
    move(RIGHT, '10.99.0.12', RIGHT.ipv4)
  }
})

test.skipIf(forbidden !== false)(named('either side restarts'), async () => {
  const options = { weKnow: true, theyKnow: true, keepaliveSeconds: 1 }
  let theirs = await startTheirs(options)
  let ours = await startOurs(options)
  ping(LEFT, RIGHT)
  await end(ours.child)
  ours = await startOurs(options)
  ping(RIGHT, LEFT)
  await end(theirs)
  theirs = await startTheirs(options)
  ping(LEFT, RIGHT)
  expect(theirs.exitCode).toBeNull()
})
