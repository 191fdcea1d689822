/** What the API answers about WireGuard: peers, gateways, the backbone (answers.ts says how schemas of answers are used). */
import { z } from 'zod'
import { BACKBONE_IMPLEMENTATIONS } from '../../../lib/feed/questions.ts'
import { at, listOf, milliseconds, reached, revision, strings } from './answers.ts'

const wireguardKey = z.string().meta({ description: 'A public key of WireGuard, in base64.' })

export const peerAnswer = z
  .strictObject({
    id: z.string(),
    org: z.string(),
    name: z.string(),
    network: z.int(),
    publicKey: wireguardKey,
    address: z.string().meta({ description: 'Its own, on the network.', examples: ['fdaa:0:1:ffff:ffff::102'] }),
    prefix: z.string().meta({ description: 'All that it may send from.', examples: ['fdaa:0:1:ffff:ffff::100/120'] }),
    seen: z
      .strictObject({ gateway: z.string(), at, receivedBytes: z.int().min(0), sentBytes: z.int().min(0) })
      .optional()
      .meta({ description: 'The gateway that had its last handshake, when that was, and bytes since it came in there; absent: no connected gateway holds it now.' }),
    createdAt: at,
  })
  .meta({ id: 'WireguardPeer', description: 'A machine that reaches a network by WireGuard.' })

const atGateways = z
  .strictObject({ revision, ms: milliseconds, gateways: listOf(reached), missing: strings.meta({ description: 'Connected gateways that have not acknowledged in time.' }) })
  .meta({ id: 'AtGateways', description: 'How long until every connected gateway had put a change in force.' })

export const peerChangedAnswer = z.strictObject({ ...peerAnswer.shape, provisioning: atGateways })
export const peerRemovedAnswer = z.strictObject({ id: z.string(), name: z.string(), deleted: z.literal(true), revocation: atGateways })

export const gatewayAnswer = z
  .strictObject({
    id: z.string(),
    region: z.string(),
    publicKey: wireguardKey,
    endpoints: strings.meta({ description: '`host:port` by UDP.' }),
    websocket: z.string().optional().meta({ description: 'For clients that UDP does not reach.' }),
    neighbours: z.string().optional().meta({ description: 'Where other gateways find it, by UDP; absent: its peers do not reach those at other gateways.' }),
    connected: z.boolean().meta({ description: 'Whether it follows the feed now.' }),
    joinedAt: at,
  })
  .meta({ id: 'Gateway', description: 'Where WireGuard peers come in.' })

export const gatewayRemovedAnswer = z.strictObject({ id: z.string(), deleted: z.literal(true) })

const onBackbone = z
  .strictObject({ revision, ms: milliseconds, hosts: listOf(reached), missing: strings.meta({ description: 'Connected hosts that have not acknowledged in time.' }) })
  .meta({ id: 'OnBackbone', description: 'How long until every connected host of the backbone had put a change in force.' })

export const backboneAnswer = z
  .strictObject({
    id: z.string(),
    region: z.string(),
    host: z.string(),
    publicKey: wireguardKey,
    endpoint: z.string().meta({ description: 'By UDP.' }),
    addresses: strings.meta({ description: 'What goes to these from other hosts goes through the backbone.' }),
    connected: z.boolean().meta({ description: 'Whether it follows the feed now.' }),
    implementation: z.enum(BACKBONE_IMPLEMENTATIONS).optional().meta({ description: 'Whose WireGuard it is; absent: it did not say.' }),
    reaches: listOf(z.string()).optional().meta({ description: 'Hosts that it sends to through the backbone at this moment; absent: it did not say.' }),
    rekey: z.strictObject({ waitsFor: strings }).optional().meta({ description: 'While its key changes: who has to acknowledge.' }),
    joinedAt: at,
  })
  .meta({ id: 'BackboneHost', description: 'A host of the backbone.' })

export const backboneRekeyAnswer = z.strictObject({ id: z.string(), publicKey: wireguardKey.meta({ description: 'The new one.' }), change: onBackbone })
export const backboneRemovedAnswer = z.strictObject({ id: z.string(), deleted: z.literal(true), revocation: onBackbone })
