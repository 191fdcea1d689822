/**
 * The backbone on a WireGuard that `wg` steers: the kernel's where it has one (`npm run vm` has), and wireguard-go stands in
 * for it elsewhere: everything else, the commands and what they answer, is the same. Two hosts in two namespaces.
 */
import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { BackboneRow } from '../../lib/feed/messages.ts'
import type { RunCommand } from '../../lib/host-command.ts'
import { NearcastError } from '../../lib/errors.ts'
import { clampPrivate, encodeKey, KeyPair } from '../../lib/wireguard/keys.ts'
import { Mesh } from '../../router/backbone/mesh.ts'
import { BackboneRoutes, MARK } from '../../router/backbone/routes.ts'
import { probeKernelWireguard, WgInterface } from '../../router/backbone/wg-interface.ts'
import { Room } from '../support/room.ts'
import { until } from '../support/until.ts'

const HOSTS = [
  { netns: 'bb-left', address: 'fd99::1' },
  { netns: 'bb-right', address: 'fd99::2' },
] as const
/** A kernel begins a handshake every five seconds at most. */
const PATIENCE_MS = 60_000
const TOPOLOGY = `
ip netns add bb-left
ip netns add bb-right
ip link add eth0 netns bb-left type veth peer name eth0 netns bb-right
for side in left:1 right:2; do
  ip -n bb-\${side%:*} link set lo up
  ip -n bb-\${side%:*} link set eth0 up
  ip -n bb-\${side%:*} addr add fd99::\${side#*:}/64 dev eth0 nodad
done
mkdir -p /run/wireguard
`

interface Host {
  readonly netns: string
  readonly address: string
  readonly run: RunCommand
  readonly device: WgInterface
  readonly mesh: Mesh
  readonly routes: BackboneRoutes
  readonly failures: Error[]
}

const stand = ['wireguard-go', 'wg', 'ping'].every((program) => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0)
let kernelHasIt = false
const children: ChildProcess[] = []
let room: Room | null = null
let forbidden: string | false = stand ? false : 'no wireguard-go or wg'
if (stand) {
  try {
    room = await Room.open()
    room.run('sh', '-euc', TOPOLOGY)
    kernelHasIt = room.run('sh', '-c', 'ip link add probe type wireguard && ip link del probe && echo yes || true').includes('yes')
    if (!kernelHasIt) room.run('ip', 'netns', 'exec', 'bb-left', 'ip', 'tuntap', 'add', 'mode', 'tun', 'name', 'probe')
  } catch (error) {
    forbidden = error instanceof Error ? error.message.trim().replaceAll('\n', ' ') : String(error)
  }
}
let hosts: readonly Host[] = []

function key(): { readonly bytes: () => Uint8Array; readonly publicKey: string } {
  const bytes = clampPrivate(randomBytes(32))
  return { bytes: () => Uint8Array.from(bytes), publicKey: KeyPair.fromPrivate(Uint8Array.from(bytes)).publicKey.text }
}

/** As lib/host-command.ts, in a namespace; where the kernel has none, an interface of its type is one of wireguard-go's. */
function runner(netns: string): RunCommand {
  const [command, ...inside] = [...(room?.prefix ?? []), 'ip', 'netns', 'exec', netns]
  const run: RunCommand = async (program, args, input = '') => {
    if (args.includes('wireguard') && !kernelHasIt) {
      const name = args[args.indexOf('dev') + 1] ?? ''
      const script = `rm -f /run/wireguard/${name}.sock; exec wireguard-go -f ${name} 2> /dev/null`
      children.push(spawn(command, [...inside, 'sh', '-c', script], { stdio: 'ignore' }))
      await until('wireguard-go answers', () => spawnSync(command, [...inside, 'wg', 'show', name]).status === 0)
      return ''
    }
    const child = spawn(command, [...inside, program, ...args])
    let [output, complaint] = ['', '']
    child.stdout.on('data', (data: Buffer) => (output += data.toString()))
    child.stderr.on('data', (data: Buffer) => (complaint += data.toString()))
    child.stdin.on('error', () => {})
    child.stdin.end(input)
    const code = await new Promise((resolve) => child.once('close', resolve))
    if (code !== 0) throw new NearcastError('host.failed', complaint)
    return output
  }
  return run
}

const keys = [key(), key(), key()] as const
/** @returns the file */
function putKey(index: number, { bytes }: ReturnType<typeof key>): string {
  const file = `/run/bb${index}.key`
  room?.run('sh', '-euc', `umask 077; echo ${encodeKey(bytes())} > ${file}`)
  return file
}
const row = (index: 0 | 1, ...own: string[]): BackboneRow => {
  const { netns, address } = HOSTS[index]
  return { id: netns, host: netns, keys: own.length > 0 ? own : [keys[index].publicKey], endpoint: `[${address}]:51821`, addresses: [address] }
}
const told = (...rows: BackboneRow[]): void => {
  for (const { mesh } of hosts) mesh.apply(new Map(rows.map((each) => [each.id, each])))
}
const at = (index: 0 | 1): Host => hosts[index] ?? expect.fail('no host')

async function everybodyReaches(): Promise<void> {
  let all = false
  let asking = false
  const ask = async (): Promise<void> => {
    asking = true
    for (const { device } of hosts) await device.look()
    const reached = hosts.map(({ mesh }) => mesh.reached())
    await Promise.all(hosts.map(({ routes }, index) => routes.replace(new Set(reached[index]?.flatMap(({ addresses }) => addresses)), new Set())))
    all = reached.every((rows) => rows.length === 1)
    asking = false
  }
  const reach = (): boolean => {
    if (!asking) void ask()
    return all
  }
  await until('both reach each other', reach, PATIENCE_MS)
}

const ping = (index: 0 | 1, to: string): Promise<string> => at(index).run('ip', ['netns', 'exec', HOSTS[index].netns, 'ping', '-6', '-c', '2', '-i', '0.2', '-W', '2', to])

beforeAll(async () => {
  if (forbidden !== false) return
  hosts = await Promise.all(
    HOSTS.map(async ({ netns, address }, index) => {
      const run = runner(netns)
      const failures: Error[] = []
      const options = { name: `bb${index}`, mtu: 1420, listen: { host: '::', port: 51821 }, mark: MARK, privateKey: new Uint8Array(32), keyFile: putKey(index, keys[index] ?? keys[0]) }
      const device = await WgInterface.open({ ...options, run, nowMs: Date.now, onFailure: (error) => failures.push(error) }, 'a test')
      const mesh = new Mesh({ self: netns, device, keepaliveSeconds: 1, silenceMs: 10_000, nowMs: () => performance.now() })
      const routes = new BackboneRoutes({ name: options.name, source: address, required: null, run })
      await routes.open()
      return { netns, address, run, device, mesh, routes, failures }
    }),
  )
})
afterAll(async () => {
  for (const { device } of hosts) await device.close()
  for (const child of children) child.kill('SIGKILL')
  await room?.close()
})

const says = (answer: Error | null): RunCommand => () => (answer === null ? Promise.resolve('') : Promise.reject(answer))

test('the probe has three answers', async () => {
  expect(await probeKernelWireguard(says(null))).toEqual({ answer: 'yes' })
  expect(await probeKernelWireguard(says(new NearcastError('host.command-missing', 'no wg')))).toMatchObject({ answer: 'no' })
  expect(await probeKernelWireguard(says(new NearcastError('host.failed', 'Error: Unknown device type.')))).toMatchObject({ answer: 'no' })
  expect(await probeKernelWireguard(says(new NearcastError('host.denied', 'needs CAP_NET_ADMIN')))).toMatchObject({ answer: 'unknown' })
})

test.skipIf(forbidden !== false)(`two hosts find each other, one changes its key, one leaves${forbidden === false ? '' : ` (skipped: ${forbidden})`}`, { timeout: 3 * PATIENCE_MS }, async () => {
  told(row(0), row(1))
  await everybodyReaches()
  expect(await at(0).run('ip', ['-6', 'route', 'get', 'fd99::2'])).toContain('dev bb0')
  const before = at(0).device.peers()[0]?.sentBytes ?? 0
  expect(await ping(0, 'fd99::2')).toContain(' 0% packet loss')
  await until('it went through', () => {
    void at(0).device.look()
    return (at(0).device.peers()[0]?.sentBytes ?? 0) > before + 128
  })

  told(row(0, keys[0].publicKey, keys[2].publicKey), row(1))
  expect(at(1).device.peers().map(({ publicKey }) => publicKey)).toEqual([keys[0].publicKey])
  putKey(0, keys[2])
  at(0).device.setPrivateKey(keys[2].bytes())
  told(row(0, keys[2].publicKey, keys[0].publicKey), row(1))
  at(0).mesh.greet()
  told(row(0, keys[2].publicKey), row(1))
  await everybodyReaches()
  expect(at(1).device.peers().map(({ publicKey }) => publicKey)).toEqual([keys[2].publicKey])
  expect(await ping(1, 'fd99::1')).toContain(' 0% packet loss')

  told(row(0))
  expect(at(0).device.peers()).toEqual([])
  expect(at(0).mesh.reached()).toEqual([])
  expect(hosts.flatMap(({ failures }) => failures)).toEqual([])
})
