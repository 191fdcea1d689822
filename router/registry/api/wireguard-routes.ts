/** Routes of WireGuard peers, and of the gateways that they come in by. */
import type { z } from 'zod'
import { asNetworkId, formatIpv6, peerAddress, peerPrefix } from '../../../lib/address.ts'
import { peersSeen } from '../../../lib/feed/questions.ts'
import { gatewaysOf, removeGateway } from '../objects/members.ts'
import { createPeer, findPeer, resetPeer } from '../objects/wireguard.ts'
import type { Registry } from '../registry.ts'
import type { DialerRecord, WireguardRecord } from '../store/records.ts'
import { listOf } from './answers.ts'
import { gatewayAnswer, gatewayRemovedAnswer, peerAnswer, peerChangedAnswer, peerRemovedAnswer } from './wireguard-answers.ts'
import type { Route } from './route.ts'
import { route } from './route.ts'
import { peerBody, peerResetBody } from './schemas.ts'

const PATH = '/v1/orgs/:org/wireguard'
const ANSWER_MS = 2000

export function wireguardRoutes(registry: Registry): Route[] {
  const { store, publisher, plan } = registry
  const shown = (peer: WireguardRecord): z.infer<typeof peerAnswer> => peerDocument(registry, peer)
  return [
    route({
      method: 'GET',
      path: PATH,
      access: 'org',
      summary: 'List WireGuard peers, and when each was seen last',
      answer: listOf(peerAnswer),
      handle: async (_call, org) => {
        const peers = store.list('wireguard', org.id)
        const seen = await lastSeen(registry, peers)
        return peers.map((peer) => ({ ...shown(peer), ...seen.get(peer.publicKey) }))
      },
    }),
    route({
      method: 'GET',
      path: `${PATH}/:name`,
      access: 'org',
      summary: 'Show a WireGuard peer',
      answer: peerAnswer,
      handle: async (call, org) => {
        const peer = findPeer(store, org.id, call.params['name'] ?? '')
        return { ...shown(peer), ...(await lastSeen(registry, [peer])).get(peer.publicKey) }
      },
    }),
    route({
      method: 'POST',
      path: PATH,
      access: 'org',
      summary: 'Add a WireGuard peer: a machine that reaches a network through the gateways. Keep its private key where you made it',
      body: peerBody,
      answer: peerChangedAnswer,
      handle: async (call, org) => {
        const { result, revision } = store.write(call.act('wireguard.create'), (transaction) => createPeer(transaction, org, call.body, plan))
        return { ...shown(result), provisioning: await publisher.atGateways(revision) }
      },
    }),
    route({
      method: 'POST',
      path: `${PATH}/:name/reset`,
      access: 'org',
      summary: 'Give a WireGuard peer another key; the old one is refused from then on, its address stays',
      body: peerResetBody,
      answer: peerChangedAnswer,
      status: 200,
      handle: async (call, org) => {
        const peer = findPeer(store, org.id, call.params['name'] ?? '')
        const { result, revision } = store.write(call.act('wireguard.reset'), (transaction) => resetPeer(transaction, peer, call.body.publicKey))
        return { ...shown(result), provisioning: await publisher.atGateways(revision) }
      },
    }),
    route({
      method: 'DELETE',
      path: `${PATH}/:name`,
      access: 'org',
      summary: 'Remove a WireGuard peer; its place is never given out again',
      answer: peerRemovedAnswer,
      handle: async (call, org) => {
        const { id, name, publicKey } = findPeer(store, org.id, call.params['name'] ?? '')
        const { revision } = store.write(call.act('wireguard.delete'), (transaction) => transaction.remove('wireguard', publicKey))
        return { id, name, deleted: true as const, revocation: await publisher.atGateways(revision) }
      },
    }),
  ]
}

export function gatewayRoutes(registry: Registry): Route[] {
  const { store } = registry
  return [
    route({
      method: 'GET',
      path: '/v1/gateways',
      access: 'token',
      summary: 'List the gateways, where WireGuard peers come in',
      answer: listOf(gatewayAnswer),
      handle: () => gatewaysOf(store).map(({ id, region, gateway, createdAt }) => gatewayDocument(registry, id, region, gateway, createdAt)),
    }),
    route({
      method: 'DELETE',
      path: '/v1/gateways/:id',
      access: 'operator',
      summary: 'Revoke a gateway',
      answer: gatewayRemovedAnswer,
      handle: (call) => {
        const id = call.params['id'] ?? ''
        store.write(call.act('gateway.delete'), (transaction) => removeGateway(transaction, id))
        return { id, deleted: true as const }
      },
    }),
  ]
}

function peerDocument({ prefix }: Registry, { id, org, name, network, publicKey, number, createdAt }: WireguardRecord): z.infer<typeof peerAnswer> {
  const place = asNetworkId(network)
  return { id, org, name, network, publicKey, address: formatIpv6(peerAddress(place, number, prefix)), prefix: peerPrefix(place, number, prefix), createdAt }
}

type Seen = Pick<z.infer<typeof peerAnswer>, 'seen'>

/** Asks every connected gateway at once, and waits for none for long: where a peer is now, only they know. */
async function lastSeen({ feed }: Registry, peers: readonly WireguardRecord[]): Promise<Map<string, Seen>> {
  const publicKeys = peers.map(({ publicKey }) => publicKey)
  const latest = new Map<string, { readonly atMs: number; readonly seen: Seen }>()
  if (publicKeys.length === 0) return new Map()
  await Promise.all(
    feed.connected('gateway').map(async (identity) => {
      const said = await feed.ask(identity, 'peers', { publicKeys }, ANSWER_MS).catch(() => [])
      for (const { publicKey, lastHandshakeMs, receivedBytes, sentBytes } of peersSeen.catch([]).parse(said)) {
        if (lastHandshakeMs === null || lastHandshakeMs <= (latest.get(publicKey)?.atMs ?? 0)) continue
        const seen = { gateway: identity.slice('gateway/'.length), at: new Date(lastHandshakeMs).toISOString(), receivedBytes, sentBytes }
        latest.set(publicKey, { atMs: lastHandshakeMs, seen: { seen } })
      }
    }),
  )
  return new Map([...latest].map(([publicKey, { seen }]) => [publicKey, seen]))
}

function gatewayDocument({ feed }: Registry, identity: string, region: string, gateway: NonNullable<DialerRecord['gateway']>, joinedAt: string): z.infer<typeof gatewayAnswer> {
  const { publicKey, endpoints, websocket, neighbours } = gateway
  return { id: identity.slice('gateway/'.length), region, publicKey, endpoints, ...(websocket !== undefined && { websocket }), ...(neighbours !== undefined && { neighbours }), connected: feed.isConnected(identity), joinedAt }
}
