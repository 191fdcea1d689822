/**
 * A gateway's data path as a process: in whatever namespace it is started. Its settings are one JSON argument; each line on
 * its standard input is answered by one with its state. It ends with its standard input.
 */
import { createInterface } from 'node:readline'
import { z } from 'zod'
import { wireguardRow } from '../../lib/feed/messages.ts'
import { decodeKey } from '../../lib/wireguard/keys.ts'
import { choosePath } from '../../lib/wireguard/path.ts'
import { gatewayConfig } from '../../router/gateway/config.ts'
import { ThreadedPath } from '../../router/gateway/threaded-path.ts'

const settingsSchema = z.strictObject({ privateKey: z.string(), rows: z.array(wireguardRow), neighbours: z.array(z.strictObject({ publicKey: z.string(), endpoint: z.string() })) })
export type CrossingSettings = z.infer<typeof settingsSchema>

export interface CrossingState {
  readonly reached: number
  readonly elsewhere: number
  readonly installed: number
  readonly crossed: number
  readonly inner: Readonly<Record<string, number>>
  readonly device: Readonly<Record<string, number>>
}

const { privateKey, rows, neighbours: known } = settingsSchema.parse(JSON.parse(process.argv[2] ?? ''))
const { wireguard, websocket, tun, neighbours } = gatewayConfig.parse({ id: 'gw', host: 'gw', region: 'mad', stateDir: '/', router: 'https://[::1]:9', advertise: '192.0.2.1:1' })
const data = await ThreadedPath.start({ path: choosePath('auto'), prefix: 0xfdaa, wireguard, websocket, tun, neighbours }, decodeKey(privateKey), (reason) => {
  throw new Error(reason)
})
await data.apply({ type: 'all', rows })
await data.applyNeighbours(known)
process.stdout.write('ready\n')
const lines = createInterface(process.stdin)
async function tell(): Promise<void> {
  const { gateways, peers, packets, innerDrops, deviceDrops } = await data.state()
  const state: CrossingState = { reached: gateways.reached, elsewhere: peers.elsewhere, installed: peers.installed, crossed: packets.crossed, inner: Object.fromEntries(innerDrops), device: Object.fromEntries(deviceDrops) }
  process.stdout.write(`${JSON.stringify(state)}\n`)
}
lines.on('line', () => void tell())
lines.on('close', () => void data.close())
