/**
 * WireGuard for long, and with many: what a test of seconds can't show.
 *
 *   npm run soak:wireguard -- weather [--minutes 10]    two devices by UDP in real time; datagrams are lost, doubled and late:
 *                                                       nothing arrives twice or changed, sessions are renewed, nothing leaks
 *   npm run soak:wireguard -- peers [--peers 10000]     so many peers on one gateway: all come, talk, are forgotten, come again
 *   npm run soak:wireguard -- interop [--minutes 30]    beside wireguard-go, once each as who begins: pings and streams go on
 *                                                       while sessions are renewed
 *
 * Prints a line of JSON in the end; exits 1 when a promise broke. [--seed n] repeats the random parts.
 */
import { readdirSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Device } from '../../lib/wireguard/device.ts'
import { MemoryTun } from '../../lib/wireguard/memory-tun.ts'
import { choosePath, udpBind } from '../../lib/wireguard/path.ts'
import { GatewayCrowd } from '../support/gateway-crowd.ts'
import { Random, testSeed } from '../support/random.ts'
import { StormyBind } from '../support/stormy-bind.ts'
import { LEFT, RIGHT, WireguardPair } from '../support/wireguard-pair.ts'
import { ipv6Packet } from '../support/wireguard-network.ts'
import type { Weather } from '../support/wireguard-network.ts'

const USAGE = 'usage: npm run soak:wireguard -- weather [--minutes n] | peers [--peers n] | interop [--minutes n]  [--seed n]'
const MODES = { weather, peers, interop }
const STORM: Weather = { loss: 0.05, doubling: 0.02, delayMs: 30 }
const TICK_MS = 20
const PACKETS_PER_TICK = 5
const REKEY_MS = 120_000
/** Of a heap after garbage collection, and of descriptors: what code and buffers of the first minute may take. */
const MORE_MEMORY_BYTES = 16 << 20
const MORE_DESCRIPTORS = 2

interface Outcome {
  /** What was promised and not kept. */
  readonly broken: readonly string[]
  readonly numbers: Readonly<Record<string, number>>
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { minutes: { type: 'string' }, peers: { type: 'string', default: '10000' }, seed: { type: 'string' } } })
if (values.seed !== undefined) process.env['NEARCAST_SEED'] = values.seed
const mode = Object.entries(MODES).find(([name]) => name === positionals[0])?.[1]
if (mode === undefined) {
  process.stderr.write(`${USAGE}\n`)
  process.exit(2)
}
const { broken, numbers } = await mode()
process.stdout.write(`${JSON.stringify({ mode: positionals[0], broken, ...numbers })}\n`)
process.exit(broken.length > 0 ? 1 : 0)

function minutes(otherwise: number): number {
  return Number(values.minutes ?? otherwise)
}

/** After garbage collection, if the process was started so that it can be asked for. */
function heldBytes(): number {
  globalThis.gc?.()
  globalThis.gc?.()
  const { heapUsed, external, arrayBuffers } = process.memoryUsage()
  return heapUsed + external + arrayBuffers
}

function descriptors(): number {
  return readdirSync('/proc/self/fd').length
}

async function weather(): Promise<Outcome> {
  const random = new Random(testSeed('soak wireguard weather'))
  const path = choosePath('auto')
  const sides = await Promise.all([1, 2].map((number) => stormySide(number, path, random)))
  const [a, b] = sides
  if (a === undefined || b === undefined) throw new Error('two sides')
  const broke: string[] = []
  a.device.setPeer(b.device.publicKey, { endpoint: { host: '127.0.0.1', port: b.device.port }, allowedIps: [b.address] })
  b.device.setPeer(a.device.publicKey, { allowedIps: [a.address] })
  const handshakes = new Set<number>()
  const endMs = performance.now() + minutes(10) * 60_000
  const settledMs = performance.now() + Math.min(60_000, (endMs - performance.now()) / 4)
  let held: { readonly bytes: number; readonly descriptors: number } | null = null
  while (performance.now() < endMs) {
    for (let count = 0; count < PACKETS_PER_TICK; count++) for (const [from, to] of [[a, b], [b, a]] as const) from.say(to)
    await delay(TICK_MS)
    const last = a.device.peers()[0]?.lastHandshakeMs
    if (last !== null && last !== undefined) handshakes.add(last)
    if (held === null && performance.now() > settledMs) held = { bytes: heldBytes(), descriptors: descriptors() }
  }
  await delay(1000)
  const more = { bytes: heldBytes() - (held?.bytes ?? 0), descriptors: descriptors() - (held?.descriptors ?? 0) }
  for (const side of sides) {
    broke.push(...side.broken)
    await side.device.close()
  }
  const sent = a.sent + b.sent
  const arrived = a.arrived + b.arrived
  const lost = a.bind.lost + b.bind.lost
  // All that wasn't lost on the way but what waited for the first session, and what a loaded machine lost by itself.
  if (arrived < sent - lost - 0.01 * sent) broke.push(`of ${sent} packets ${arrived} arrived, though ${lost} datagrams were lost`)
  const wanted = Math.floor((minutes(10) * 60_000) / (REKEY_MS + 30_000))
  if (handshakes.size < wanted) broke.push(`${handshakes.size} handshakes, at least ${wanted} were due`)
  if (more.bytes > MORE_MEMORY_BYTES) broke.push(`${more.bytes} bytes more than after the first minute`)
  if (more.descriptors > MORE_DESCRIPTORS) broke.push(`${more.descriptors} descriptors more than after the first minute`)
  return { broken: broke, numbers: { minutes: minutes(10), sent, arrived, lost, handshakes: handshakes.size, moreBytes: more.bytes, moreDescriptors: more.descriptors } }
}

interface StormySide {
  readonly device: Device
  readonly bind: StormyBind
  readonly address: string
  readonly sent: number
  readonly arrived: number
  readonly broken: readonly string[]
  say(to: StormySide): void
  readonly number: number
}

/** Its packets are numbered, and say so all over. */
async function stormySide(number: number, path: ReturnType<typeof choosePath>, random: Random): Promise<StormySide> {
  const seen = new Set<number>()
  const wrong: string[] = []
  const tun = new MemoryTun((packet) => {
    const count = Buffer.from(packet.subarray(40, 44)).readUInt32BE(0)
    if (seen.has(count)) wrong.push(`packet ${count} arrived twice`)
    if (packet.subarray(44).some((byte) => byte !== (count & 0xff))) wrong.push(`packet ${count} arrived changed`)
    seen.add(count)
  })
  const bind = new StormyBind(udpBind(path, { ipv4: '127.0.0.1', ipv6: null }), STORM, random)
  const device = new Device({ privateKey: random.bytes(32), bind, tun })
  await device.open()
  let sent = 0
  return {
    device,
    bind,
    number,
    address: `fdaa:0:1:2::${number}`,
    get sent() {
      return sent
    },
    get arrived() {
      return seen.size
    },
    get broken() {
      return wrong.slice(0, 10)
    },
    say: (to) => {
      const payload = Buffer.alloc(4 + random.below(1300), sent & 0xff)
      payload.writeUInt32BE(sent++)
      tun.inject(ipv6Packet(number, to.number, payload))
    },
  }
}

async function peers(): Promise<Outcome> {
  const count = Number(values.peers)
  const random = new Random(testSeed('soak wireguard peers'))
  const crowd = await GatewayCrowd.open(count, random)
  const broke: string[] = []
  const all = (what: string, indexes: Iterable<number>): number => {
    const startedMs = performance.now()
    let failed = 0
    for (const index of indexes) if (!crowd.talk(index)) failed++
    if (failed > 0) broke.push(`${what}: ${failed} peers weren't answered`)
    return Math.round(performance.now() - startedMs)
  }
  const everybody = Array.from({ length: count }, (_, index) => index)
  const anybody = Array.from({ length: 5 * count }, () => random.below(count))
  const comeMs = all('they come', everybody)
  if (crowd.state.peers.installed !== count) broke.push(`${crowd.state.peers.installed} of ${count} are installed`)
  const talkMs = all('they talk', anybody)
  crowd.pass(130_000)
  const renewMs = all('they come back to sessions that are old', everybody)
  crowd.pass(1_500_000)
  if (crowd.state.peers.installed !== 0) broke.push(`${crowd.state.peers.installed} silent peers are remembered`)
  const againMs = all('they come again', everybody)
  if (crowd.state.peers.refused > 0) broke.push(`${crowd.state.peers.refused} were refused`)
  const { deviceDrops: drops } = crowd.state
  for (const reason of ['forged-or-replayed', 'source', 'malformed', 'mac1'] as const) if ((drops.get(reason) ?? 0) > 0) broke.push(`${drops.get(reason)} dropped: ${reason}`)
  await crowd.close()
  return { broken: broke, numbers: { peers: count, comeMs, talkMs, renewMs, againMs } }
}

async function interop(): Promise<Outcome> {
  const broke: string[] = []
  const counts: Record<string, number> = { minutes: minutes(30) }
  await Promise.all(
    (['we', 'they'] as const).map(async (who) => {
      const pair = await WireguardPair.open()
      if (typeof pair === 'string') throw new Error(pair)
      try {
        pair.startTheirs({ theyKnow: who === 'they' })
        const ours = await pair.startOurs({ weKnow: who === 'we' })
        const [from, to] = who === 'we' ? [LEFT, RIGHT] : [RIGHT, LEFT]
        pair.ping(from, to)
        const handshakes = new Set<number>()
        const endMs = performance.now() + minutes(30) * 60_000
        let [pings, lost, streams] = [0, 0, 0]
        for (let second = 0; performance.now() < endMs; second++) {
          pings++
          try {
            pair.run(from, 'ping', '-6', '-c', '1', '-W', '2', to.inside)
          } catch {
            lost++
          }
          if (second % 30 === 0) {
            for (const [one, other] of [[from, to], [to, from]] as const) if ((await pair.transfer(one, other, 1_000_000)) !== 'whole') broke.push(`${who} begin: a stream was broken`)
            streams += 2
          }
          const { peers: known } = await ours.ask()
          if (typeof known[0]?.lastHandshakeMs === 'number') handshakes.add(known[0].lastHandshakeMs)
          await delay(1000)
        }
        const wanted = Math.floor((minutes(30) * 60_000) / (REKEY_MS + 10_000))
        if (handshakes.size < wanted) broke.push(`${who} begin: ${handshakes.size} handshakes, at least ${wanted} were due`)
        // A machine that others load may lose one by itself; a renewal that loses one loses fifteen in half an hour.
        if (lost > Math.max(1, 0.003 * pings)) broke.push(`${who} begin: ${lost} of ${pings} pings were lost`)
        const { drops } = await ours.ask()
        for (const reason of ['forged-or-replayed', 'source', 'malformed', 'mac1']) if ((drops[reason] ?? 0) > 0) broke.push(`${who} begin: ${drops[reason]} dropped: ${reason}`)
        Object.assign(counts, { [`${who}Pings`]: pings, [`${who}LostPings`]: lost, [`${who}Streams`]: streams, [`${who}Handshakes`]: handshakes.size })
      } finally {
        await pair.close()
      }
    }),
  )
  return { broken: broke, numbers: counts }
}
