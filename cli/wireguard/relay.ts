/**
 * A gateway's WebSocket as a UDP port of this machine, for stock WireGuard clients where UDP doesn't get through: they name
 * this port as their peer's end point and know nothing of it. It can't read what it carries.
 */
import { parseListen } from '../../lib/listen.ts'
import type { Endpoint } from '../../lib/wireguard/bind.ts'
import { UdpBind } from '../../lib/wireguard/udp-bind.ts'
import { WebSocketBind } from '../../lib/wireguard/websocket-bind.ts'
import type { WebSocketBindOptions } from '../../lib/wireguard/websocket-bind.ts'
import { NearcastError } from '../../lib/errors.ts'

export interface Relay {
  /** Of this machine. */
  readonly port: number
  close(): Promise<void>
}

/** `listen`: an address of this machine with a port, 0 for any free one. @throws NearcastError address.invalid, listen.*, config.invalid */
export async function startRelay({ listen, ...options }: WebSocketBindOptions & { readonly listen: string }): Promise<Relay> {
  const target = parseListen(listen)
  if (target.kind !== 'tcp') throw new NearcastError('config.invalid', `"${listen}" takes no datagrams; write host:port.`, { side: 'client' })
  const isIpv6 = target.host.includes(':')
  const local = new UdpBind({ port: target.port, ipv4: isIpv6 ? null : target.host, ipv6: isIpv6 ? target.host : null })
  const remote = new WebSocketBind(options)
  /** Where the client was last: it may move, as clients do. */
  let client: Endpoint | null = null
  await local.open((datagram, from) => {
    client = from
    remote.send(datagram)
  })
  await remote.open((datagram) => {
    if (client !== null) local.send(Uint8Array.from(datagram), client)
  })
  return {
    port: local.port,
    close: async () => {
      await Promise.all([local.close(), remote.close()])
    },
  }
}
