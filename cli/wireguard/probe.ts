/**
 * Whether a gateway answers and how fast: a handshake of its own, with the key of a new peer. It proves more than a ping
 * could: UDP goes both ways, and the gateway knows the peer.
 *
 * Its timestamps are of 1970: a gateway takes no handshake that is older than the last one, and the machine that will use
 * the key may have a clock that is behind ours.
 */
import { lookup } from 'node:dns/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { Device } from '../../lib/wireguard/device.ts'
import type { Endpoint } from '../../lib/wireguard/bind.ts'
import { decodeKey } from '../../lib/wireguard/keys.ts'
import { MemoryTun } from '../../lib/wireguard/memory-tun.ts'
import { UdpBind } from '../../lib/wireguard/udp-bind.ts'

export interface Gateway {
  readonly id: string
  readonly region: string
  readonly publicKey: string
  readonly endpoints: readonly string[]
  readonly websocket?: string | undefined
  readonly connected: boolean
}

export interface Probed {
  readonly gateway: Gateway
  /** The first that answered; else the first. */
  readonly endpoint: string
  /** Question to answer; null when nothing came. */
  readonly ms: number | null
}

const ANSWER_MS = 2000
const LOOK_MS = 1

/** The nearest first, those that don't answer last. `privateKey`: base64. */
export async function probeGateways(gateways: readonly Gateway[], privateKey: string): Promise<Probed[]> {
  const probed = await Promise.all(gateways.map((gateway) => probeGateway(gateway, privateKey)))
  return probed.toSorted((left, right) => (left.ms ?? Infinity) - (right.ms ?? Infinity))
}

async function probeGateway(gateway: Gateway, privateKey: string): Promise<Probed> {
  const [first = ''] = gateway.endpoints
  for (const [index, endpoint] of gateway.endpoints.entries()) {
    const place = await resolve(endpoint)
    // Each of them one second later than the one before, which may have been heard.
    const ms = place === null ? null : await handshakeMs(gateway.publicKey, place, privateKey, 1000 * index)
    if (ms !== null) return { gateway, endpoint, ms }
  }
  return { gateway, endpoint: first, ms: null }
}

async function resolve(text: string): Promise<Endpoint | null> {
  const [, ipv6, name, port] = /^(?:\[(.+)\]|([^:]+)):(\d+)$/.exec(text) ?? []
  const host = ipv6 ?? name
  if (host === undefined || port === undefined) return null
  return lookup(host).then(
    ({ address }) => ({ host: address, port: Number(port) }),
    () => null,
  )
}

async function handshakeMs(publicKey: string, endpoint: Endpoint, privateKey: string, wallMs: number): Promise<number | null> {
  const device = new Device({
    privateKey: decodeKey(privateKey),
    bind: new UdpBind(),
    tun: new MemoryTun(() => {}),
    clock: { monotonicMs: () => performance.now(), wallMs: () => wallMs },
  })
  try {
    await device.open()
    const startedMs = performance.now()
    // Something has to want a session.
    device.setPeer(publicKey, { endpoint, persistentKeepaliveSeconds: 25 })
    while (performance.now() - startedMs < ANSWER_MS) {
      if (device.peers()[0]?.lastHandshakeMs !== null) return performance.now() - startedMs
      await delay(LOOK_MS)
    }
    return null
  } catch {
    // No IPv6 on this machine, a key that isn't one: no answer either.
    return null
  } finally {
    await device.close()
  }
}
