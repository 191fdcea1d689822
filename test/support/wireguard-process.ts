/**
 * A WireGuard device of ours as a process: in whatever namespace it is started, with a TUN interface and a UDP port. Its
 * settings are one JSON argument; each line on its standard input is answered by one with its peers and what it dropped.
 * It ends with its standard input.
 */
import { createInterface } from 'node:readline'
import { spawnSync } from 'node:child_process'
import { z } from 'zod'
import { Device } from '../../lib/wireguard/device.ts'
import { decodeKey } from '../../lib/wireguard/keys.ts'
import { KernelTun } from '../../lib/wireguard/kernel-tun.ts'
import { choosePath, udpBind } from '../../lib/wireguard/path.ts'
import { WANTED_PATHS } from '../../lib/wireguard/wanted-path.ts'

const settingsSchema = z.strictObject({
  privateKey: z.string(),
  port: z.number(),
  path: z.enum(WANTED_PATHS),
  addresses: z.array(z.string()),
  peer: z.strictObject({
    publicKey: z.string(),
    presharedKey: z.string().optional(),
    endpoint: z.strictObject({ host: z.string(), port: z.number() }).optional(),
    allowedIps: z.array(z.string()),
    persistentKeepaliveSeconds: z.number().optional(),
  }),
})
export type WireguardSettings = z.infer<typeof settingsSchema>

const { privateKey, port, path, addresses, peer } = settingsSchema.parse(JSON.parse(process.argv[2] ?? ''))
const chosen = choosePath(path)
const tun = new KernelTun('wg0')
const device = new Device({ privateKey: decodeKey(privateKey), bind: udpBind(chosen, { port }), tun })
await device.open()
const { publicKey, presharedKey, endpoint, allowedIps, persistentKeepaliveSeconds } = peer
device.setPeer(publicKey, {
  allowedIps,
  presharedKey: presharedKey === undefined ? null : decodeKey(presharedKey),
  ...(endpoint && { endpoint }),
  ...(persistentKeepaliveSeconds !== undefined && { persistentKeepaliveSeconds }),
})
for (const address of addresses) {
  const words = ['addr', 'add', address, 'dev', tun.name, ...(address.includes(':') ? ['nodad'] : [])]
  const { status, stderr } = spawnSync('ip', words, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`ip ${words.join(' ')}: ${stderr}`)
}
process.stdout.write(`${JSON.stringify({ ready: true })}\n`)
const lines = createInterface(process.stdin)
lines.on('line', () => process.stdout.write(`${JSON.stringify({ peers: device.peers(), drops: Object.fromEntries(device.drops) })}\n`))
lines.on('close', () => void device.close())
