/**
 * Our WireGuard device as a process under test: settings in a file, an interface, UDP or one WebSocket. SIGUSR2 collects
 * garbage, for those who measure memory.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { GatewayWebSocketBind } from '../../router/gateway/websocket-bind.ts'
import { preferBlake2s } from '../../lib/wireguard/blake2s.ts'
import { Device } from '../../lib/wireguard/device.ts'
import { decodeKey } from '../../lib/wireguard/keys.ts'
import type { Bind } from '../../lib/wireguard/bind.ts'
import { KernelTun } from '../../lib/wireguard/kernel-tun.ts'
import { SegmentedUdpBind } from '../../lib/wireguard/segmented-udp-bind.ts'
import { UdpBind } from '../../lib/wireguard/udp-bind.ts'
import { wasmAead } from '../../lib/wireguard/wasm-aead.ts'
import { wasmBlake2s } from '../../lib/wireguard/wasm-blake2s.ts'
import { WebSocketBind } from '../../lib/wireguard/websocket-bind.ts'

export interface DeviceSettings {
  readonly privateKey: string
  readonly port: number
  readonly mtu: number
  readonly interface: string
  readonly path: 'fast' | 'portable' | 'websocket' | 'websocket-gateway'
  /** Files. */
  readonly wasm: string
  readonly blake2s: string
  readonly peers: readonly { readonly publicKey: string; readonly allowedIps: string; readonly host?: string }[]
  /** Of the gateway, for path `websocket`. */
  readonly url: string
  /** Where the gateway's certificate is. */
  readonly directory: string
}

const collect = globalThis.gc
const device = await start(JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as DeviceSettings)
let collections = 0
process.on('SIGUSR2', () => {
  // As small as it gets: what is measured is what is needed.
  for (let round = 0; round < 3; round++) collect?.({ type: 'major', execution: 'sync', flavor: 'last-resort' })
  process.stdout.write(`collected ${++collections}\n`)
})
process.on('SIGTERM', () => void device.close().then(() => process.exit()))
process.stdout.write('ready\n')

/** Settings are forgotten afterwards, with all the peers that they name. */
async function start(settings: DeviceSettings): Promise<Device> {
  preferBlake2s(wasmBlake2s(new Uint8Array(readFileSync(settings.blake2s))))
  const made = new Device({
    privateKey: decodeKey(settings.privateKey),
    bind: bindOf(settings),
    tun: new KernelTun(settings.interface, settings.mtu),
    aead: wasmAead(new Uint8Array(readFileSync(settings.wasm))),
    // All of them are welcome; whoever measures how many doesn't want to measure the limit.
    handshakesPerSecond: 1e9,
  })
  await made.open()
  for (const { publicKey, allowedIps, host } of settings.peers) {
    made.setPeer(publicKey, { allowedIps: [allowedIps], ...(host !== undefined && { endpoint: { host, port: settings.port } }) })
  }
  return made
}

function bindOf({ path, port, url, directory }: DeviceSettings): Bind {
  if (path === 'websocket') return new WebSocketBind({ url, reconnectMs: 100 })
  const [certificate, key] = ['websocket.pem', 'websocket.key'].map((name) => join(directory, name)) as [string, string]
  if (path === 'websocket-gateway') return new GatewayWebSocketBind({ listen: '0.0.0.0:443', certificate, key, maxConnections: 10 })
  return path === 'fast' ? new SegmentedUdpBind({ port }) : new UdpBind({ port })
}
