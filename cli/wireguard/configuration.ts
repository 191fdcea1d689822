/** The configuration of a WireGuard peer as stock clients take it (wg-quick, the apps for phones and desktops). Pure. */
import { asNetworkId, networkOf, networkPrefix, parseIpv6 } from '../../lib/address.ts'
import { NearcastError } from '../../lib/errors.ts'
import { DEFAULT_MTU } from '../../lib/wireguard/constants.ts'

/** Keeps the way back open through NATs, whose mappings of UDP live 30 s at least. */
const KEEPALIVE_SECONDS = 25

export interface ConfigurationFacts {
  /** `acme/laptop` */
  readonly title: string
  /** Base64. */
  readonly privateKey: string
  /** The peer's own, `fdaa:0:1:ffff:ffff::102`. */
  readonly address: string
  readonly gateway: { readonly id: string; readonly region: string; readonly publicKey: string }
  /** `host:port` */
  readonly endpoint: string
}

/** Ends with a line break. @throws NearcastError api.error */
export function formatConfiguration({ title, privateKey, address, gateway, endpoint }: ConfigurationFacts): string {
  return `# ${title}, by gateway ${gateway.id} in ${gateway.region}
[Interface]
PrivateKey = ${privateKey}
Address = ${address}/120
MTU = ${DEFAULT_MTU}

[Peer]
PublicKey = ${gateway.publicKey}
Endpoint = ${endpoint}
AllowedIPs = ${networkOfPeer(address)}
PersistentKeepalive = ${KEEPALIVE_SECONDS}
`
}

/** `fdaa:0:1::/48`, whatever the first 16 bits are. */
function networkOfPeer(text: string): string {
  const address = parseIpv6(text)
  const prefix = ((address[0] ?? 0) << 8) | (address[1] ?? 0)
  const network = networkOf(address, prefix)
  if (network === null) throw new NearcastError('api.error', `The API gave the peer the address ${text}, which is in no network.`)
  return networkPrefix(asNetworkId(network), prefix)
}
