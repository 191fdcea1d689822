/**
 * WireGuard peers: machines that come in through a gateway. Each belongs to one network and has a /120 of it, by a counter
 * that only rises, also over a removal and over a restore: like an address, it never has a second owner.
 *
 * The private key is made where it is used; here is the public one, and no preshared key (DECISIONS.md says why).
 */
import { MAX_PEER_NUMBER } from '../../../lib/address.ts'
import { NearcastError } from '../../../lib/errors.ts'
import type { OrgRecord, WireguardRecord } from '../store/records.ts'
import type { StoreReader, StoreTransaction } from '../store/store.ts'
import { newId } from '../trust/secret-token.ts'
import type { AddressPlan } from './addresses.ts'
import { findNetwork } from './networks.ts'
import { checkQuota } from './quotas.ts'

export interface PeerRequest {
  readonly name: string
  readonly publicKey: string
  readonly network?: string | undefined
}

/** @throws NearcastError name.taken, wireguard.key-taken, network.missing, network.not-found, quota.peers, address.exhausted */
export function createPeer(transaction: StoreTransaction, org: OrgRecord, request: PeerRequest, plan: AddressPlan): WireguardRecord {
  const network = findNetwork(transaction, org, request.network)
  if (transaction.find('wireguard', org.id, request.name) !== null) {
    throw new NearcastError('name.taken', `${org.name} has a WireGuard peer "${request.name}" already.`, { side: 'client' })
  }
  checkKey(transaction, request.publicKey)
  checkQuota('peers', transaction.list('wireguard', org.id).length, plan.quotas)
  const number = transaction.next(`peer/${network.id}`)
  if (number > MAX_PEER_NUMBER) throw new NearcastError('address.exhausted', 'The network has given out all places for WireGuard peers; add another network.')
  const peer: WireguardRecord = {
    publicKey: request.publicKey,
    id: newId('wgp'),
    org: org.id,
    network: network.id,
    name: request.name,
    number,
    createdAt: plan.clock().toISOString(),
  }
  transaction.put('wireguard', peer)
  return peer
}

/** Another key for the same place: who has the old one is out. @throws NearcastError wireguard.key-taken */
export function resetPeer(transaction: StoreTransaction, peer: WireguardRecord, publicKey: string): WireguardRecord {
  checkKey(transaction, publicKey)
  const renewed = { ...peer, publicKey }
  transaction.remove('wireguard', peer.publicKey)
  transaction.put('wireguard', renewed)
  return renewed
}

/** By name or id. @throws NearcastError wireguard.peer-not-found */
export function findPeer(store: StoreReader, org: string, nameOrId: string): WireguardRecord {
  const peer = store.find('wireguard', org, nameOrId) ?? store.list('wireguard', org).find(({ id }) => id === nameOrId)
  if (peer !== undefined) return peer
  throw new NearcastError('wireguard.peer-not-found', `The organization has no WireGuard peer "${nameOrId.slice(0, 64)}".`, { side: 'client' })
}

function checkKey(store: StoreReader, publicKey: string): void {
  const taken = store.get('wireguard', publicKey) !== null || store.list('dialers').some(({ gateway }) => gateway?.publicKey === publicKey)
  if (taken) throw new NearcastError('wireguard.key-taken', 'That public key belongs to a peer or gateway already; make a new one.', { side: 'client' })
}
