/**
 * A WireGuard device that is measured: ours, as a process of its own (device-process.ts), or wireguard-go. Each has the same
 * peers, the same MTU and an interface of the same name on its side.
 */
import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Program, firstLine } from '../program.ts'
import type { DeviceSettings } from './device-process.ts'
import type { Keys } from './keys.ts'
import { DIRECTORY, MTU, PORT, on, run } from './world.ts'
import type { Side } from './world.ts'

export interface PeerOf {
  readonly publicKey: string
  readonly allowedIps: string
  /** On the wire. */
  readonly host?: string
}

export interface RunningSubject {
  readonly pid: number
  /** Gives back what it can, so that memory is what is needed. */
  collect(): Promise<void>
  stop(): Promise<void>
}

export interface Subject {
  readonly id: string
  readonly label: string
  readonly configuration: string
  start(side: Side, keys: Keys, peers: readonly PeerOf[], routes?: readonly string[]): Promise<RunningSubject>
}

type OurPath = DeviceSettings['path']

let count = 0

/** `wasm`: what `npm run build` makes of the ciphers. */
export function ours(id: string, label: string, path: OurPath, wasm: string): Subject {
  return {
    id,
    label,
    configuration: `Device of lib/wireguard, path ${path}, ciphers in WebAssembly, MTU ${MTU}, one process, Node without options`,
    async start(side, keys, peers, routes = []) {
      const file = join(DIRECTORY, `device-${++count}.json`)
      const settings: DeviceSettings = { privateKey: keys.privateKey, port: PORT, mtu: MTU, interface: side.interface, path, wasm, blake2s: join(dirname(wasm), 'blake2s.wasm'), peers, url: `wss://${peers[0]?.host ?? ''}:443/`, directory: DIRECTORY }
      writeFileSync(file, JSON.stringify(settings))
      const words = [process.execPath, '--expose-gc', ...nodeWords(), new URL('device-process.ts', import.meta.url).pathname, file]
      const program = await new Program(...on(side, ...words), { NODE_EXTRA_CA_CERTS: join(DIRECTORY, 'websocket.pem') }).says('ready')
      address(side, peers, routes)
      let collected = 0
      return {
        pid: program.pid,
        collect: async () => {
          process.kill(program.pid, 'SIGUSR2')
          await program.says(`collected ${++collected}`)
        },
        stop: () => program.stop(),
      }
    },
  }
}

/** For profiles: NEARCAST_BENCH_NODE. */
function nodeWords(): string[] {
  return process.env['NEARCAST_BENCH_NODE']?.split(' ') ?? []
}

export const wireguardGo: Subject = {
  id: 'wireguard-go',
  label: 'wireguard-go',
  configuration: `wireguard-go, one UDP socket a family, MTU ${MTU}, GOMAXPROCS as it chooses`,
  async start(side, keys, peers, routes = []) {
    const program = new Program(...on(side, 'wireguard-go', '-f', side.interface), { LOG_LEVEL: 'error' })
    await program.until(() => {
      try {
        return run(side, 'wg', 'show', side.interface) !== ''
      } catch {
        return false
      }
    })
    const file = join(DIRECTORY, `wireguard-go-${++count}.conf`)
    const lines = [`[Interface]`, `PrivateKey = ${keys.privateKey}`, `ListenPort = ${PORT}`]
    for (const { publicKey, allowedIps, host } of peers) {
      lines.push('[Peer]', `PublicKey = ${publicKey}`, `AllowedIPs = ${allowedIps}`, ...(host === undefined ? [] : [`Endpoint = ${host}:${PORT}`]))
    }
    writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 })
    run(side, 'wg', 'setconf', side.interface, file)
    run(side, 'ip', 'link', 'set', side.interface, 'mtu', String(MTU), 'up')
    address(side, peers, routes)
    return { pid: program.pid, collect: () => Promise.resolve(), stop: () => program.stop() }
  },
}

export function goVersion(): string | null {
  return firstLine('wireguard-go', '--version')
}

function address(side: Side, peers: readonly PeerOf[], routes: readonly string[]): void {
  run(side, 'ip', 'address', 'add', `${side.inside}/64`, 'dev', side.interface, 'nodad')
  for (const route of routes) run(side, 'ip', '-6', 'route', 'add', route, 'dev', side.interface)
}
