/**
 * Members: the programs that joined. A join token is made for one program (kind, id, region, host), serves once, and
 * ends after an hour. Joining again replaces the certificate: the earlier serial counts no more, and the epoch rises, so
 * that the keys it knew die with it.
 */
import { NearcastError } from '../../../lib/errors.ts'
import type { BackbonePlace, GatewayPlace, JoiningKind } from '../../../lib/identity.ts'
import type { DialerRecord, JoinTokenRecord, NodeRecord } from '../store/records.ts'
import type { StoreReader, StoreTransaction } from '../store/store.ts'
import { hashToken } from '../trust/secret-token.ts'
import { putBackboneHost } from './backbone.ts'
import type { Clock } from './clock.ts'
import { refreshPeers } from './peers.ts'

const TOKEN_LIFE_MS = 3600_000
/** Old tokens are swept when new ones are made; a used one is kept that long to be told from an unknown one. */
const TOKEN_KEEP_MS = 30 * 24 * TOKEN_LIFE_MS

export interface MemberRequest {
  readonly kind: JoiningKind
  readonly id: string
  readonly region: string
  readonly host: string
}

/** How an agent, gateway or backbone is reached. */
export interface Reach {
  readonly endpoint?: string | undefined
  readonly socket?: string | undefined
  readonly gateway?: GatewayPlace | undefined
  readonly backbone?: BackbonePlace | undefined
}

export function addJoinToken(transaction: StoreTransaction, token: string, member: MemberRequest, clock: Clock): JoinTokenRecord {
  const now = clock().getTime()
  for (const old of transaction.list('joinTokens')) {
    if (Date.parse(old.expiresAt) + TOKEN_KEEP_MS < now) transaction.remove('joinTokens', old.hash)
  }
  const record: JoinTokenRecord = {
    hash: hashToken(token),
    program: `${member.kind}/${member.id}`,
    region: member.region,
    host: member.host,
    expiresAt: new Date(now + TOKEN_LIFE_MS).toISOString(),
    usedAt: null,
  }
  transaction.put('joinTokens', record)
  return record
}

/** @throws NearcastError join.token-invalid, join.token-used, join.token-expired */
export function checkJoinToken(store: StoreReader, token: string, clock: Clock): JoinTokenRecord {
  const record = store.get('joinTokens', hashToken(token))
  if (record === null) throw new NearcastError('join.token-invalid', 'This router never made that join token; make one with the API.', { side: 'client' })
  if (record.usedAt !== null) throw new NearcastError('join.token-used', 'A join token serves once, and this one has; make a new one.', { side: 'client' })
  if (Date.parse(record.expiresAt) < clock().getTime()) {
    throw new NearcastError('join.token-expired', `The join token ended at ${record.expiresAt}; make a new one.`, { side: 'client' })
  }
  return record
}

/** Spends the token and puts the program in force with its new certificate. `prefix`: the first 16 bits of the tenants' plan. */
export function enroll(transaction: StoreTransaction, token: string, serial: string, reach: Reach, { clock, prefix }: { readonly clock: Clock; readonly prefix: number }): DialerRecord {
  const used = checkJoinToken(transaction, token, clock)
  const now = clock().toISOString()
  transaction.put('joinTokens', { ...used, usedAt: now })
  const [kind, id] = used.program.split('/') as [MemberRequest['kind'], string]
  const epoch = transaction.next('hop-epoch')
  const member: DialerRecord = {
    id: used.program,
    kind,
    region: used.region,
    host: used.host,
    serial,
    epoch,
    rotation: epoch,
    peers: [],
    ...(kind === 'gateway' && { gateway: gatewayPlace(reach) }),
    createdAt: now,
  }
  transaction.put('dialers', member)
  if (kind === 'agent') {
    putAgentNode(transaction, id, member, reach, now)
    refreshPeers(transaction, [id])
  }
  if (kind === 'backbone') putBackboneHost(transaction, member, backbonePlace(reach), prefix)
  return member
}

function gatewayPlace({ gateway }: Reach): GatewayPlace {
  if (gateway === undefined) throw new NearcastError('api.body-invalid', 'gateway: a gateway says where its peers find it, and its key.', { side: 'client' })
  return gateway
}

function backbonePlace({ backbone }: Reach): BackbonePlace {
  if (backbone === undefined) throw new NearcastError('api.body-invalid', 'backbone: a host of the backbone says where the others find it, and its key.', { side: 'client' })
  return backbone
}

function putAgentNode(transaction: StoreTransaction, id: string, member: DialerRecord, reach: Reach, now: string): void {
  if (reach.endpoint === undefined) throw new NearcastError('api.body-invalid', 'endpoint: an agent says where its hop is reached.', { side: 'client' })
  const before = transaction.get('nodes', id)
  if (before !== null && before.hop !== 'signed-v2') {
    throw new NearcastError('name.taken', `"${id}" is a foreign node; give the agent another id.`, { side: 'client' })
  }
  const node: NodeRecord = {
    id,
    region: member.region,
    host: member.host,
    hop: 'signed-v2',
    endpoint: reach.endpoint,
    ...(reach.socket !== undefined && { socket: reach.socket }),
    epochs: [member.epoch],
    signing: member.epoch,
    keysRevision: transaction.nextRevision,
    peers: before?.peers ?? [],
    revoked: false,
    draining: before?.draining ?? false,
    createdAt: before?.createdAt ?? now,
  }
  transaction.put('nodes', node)
}

/** Its certificate and keys count no more. @throws NearcastError proxy.not-found */
export function removeProxy(transaction: StoreTransaction, id: string): void {
  if (transaction.remove('dialers', `proxy/${id}`)) return
  throw new NearcastError('proxy.not-found', `There is no proxy "${id.slice(0, 64)}".`, { side: 'client' })
}

/** Those that joined. */
export function gatewaysOf(store: StoreReader): (DialerRecord & { readonly gateway: GatewayPlace })[] {
  return store.list('dialers').flatMap((member) => (member.gateway === undefined ? [] : [{ ...member, gateway: member.gateway }]))
}

/** Its certificate counts no more, and clients are told of it no more; a stolen one has to be stopped, too. @throws NearcastError gateway.not-found */
export function removeGateway(transaction: StoreTransaction, id: string): void {
  if (transaction.remove('dialers', `gateway/${id}`)) return
  throw new NearcastError('gateway.not-found', `There is no gateway "${id.slice(0, 64)}".`, { side: 'client' })
}
