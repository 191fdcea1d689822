/** Routes of the backbone between hosts: who is on it, whom each reaches, new keys, out. */
import type { z } from 'zod'
import { NearcastError } from '../../../lib/errors.ts'
import { backboneKey, backboneSeen } from '../../../lib/feed/questions.ts'
import { findBackboneHost, removeBackboneHost } from '../objects/backbone.ts'
import type { Registry } from '../registry.ts'
import type { BackboneRecord } from '../store/records.ts'
import { listOf } from './answers.ts'
import { backboneAnswer, backboneRekeyAnswer, backboneRemovedAnswer } from './wireguard-answers.ts'
import type { Route } from './route.ts'
import { route } from './route.ts'
import { emptyBody } from './schemas.ts'

const ANSWER_MS = 2000

export function backboneRoutes(registry: Registry): Route[] {
  const { store, rekey, publisher } = registry
  return [
    route({
      method: 'GET',
      path: '/v1/backbone',
      access: 'operator',
      summary: 'List the hosts of the backbone, and whom each reaches through it',
      answer: listOf(backboneAnswer),
      handle: () => Promise.all(store.list('backbone').map((host) => backboneDocument(registry, host))),
    }),
    route({
      method: 'POST',
      path: '/v1/backbone/:id/rekey',
      access: 'operator',
      summary: 'Give a host of the backbone a new key; the old one counts until every host has acknowledged the new one',
      body: emptyBody,
      answer: backboneRekeyAnswer,
      status: 200,
      handle: async (call) => {
        const host = findBackboneHost(store, call.params['id'] ?? '')
        rekey.check(host)
        const publicKey = await nextKey(registry, host.id)
        const revision = rekey.offer(call.act('backbone.rekey'), host.id, publicKey)
        return { id: host.id, publicKey, change: await publisher.onBackbone(revision) }
      },
    }),
    route({
      method: 'DELETE',
      path: '/v1/backbone/:id',
      access: 'operator',
      summary: 'Take a host off the backbone; it is reached as if it had never been on it',
      answer: backboneRemovedAnswer,
      handle: async (call) => {
        const id = call.params['id'] ?? ''
        const { revision } = store.write(call.act('backbone.delete'), (transaction) => removeBackboneHost(transaction, id))
        rekey.advance()
        return { id, deleted: true as const, revocation: await publisher.onBackbone(revision) }
      },
    }),
  ]
}

/** Made by the host, which keeps the private half. @throws NearcastError feed.ask-failed, feed.ask-timeout */
async function nextKey({ feed }: Registry, id: string): Promise<string> {
  const identity = `backbone/${id}`
  if (!feed.isConnected(identity)) throw new NearcastError('feed.ask-failed', `${identity} isn't connected to this router; a new key is its own to make.`, { retryable: true })
  const said = backboneKey.safeParse(await feed.ask(identity, 'backbone.next-key', {}, ANSWER_MS))
  if (said.success) return said.data.publicKey
  throw new NearcastError('feed.ask-failed', `${identity} answered with something else than a key; upgrade it.`, { side: 'upstream' })
}

async function backboneDocument({ feed, rekey }: Registry, record: BackboneRecord): Promise<z.infer<typeof backboneAnswer>> {
  const { id, region, host, keys, endpoint, addresses, createdAt } = record
  const identity = `backbone/${id}`
  const connected = feed.isConnected(identity)
  const said = connected ? await feed.ask(identity, 'backbone.reaches', {}, ANSWER_MS).catch(() => null) : null
  const seen = backboneSeen.safeParse(said)
  const waitsFor = rekey.waitsFor(record)
  return {
    id,
    region,
    host,
    publicKey: keys[0] ?? '',
    endpoint,
    addresses,
    connected,
    ...(seen.success && { implementation: seen.data.implementation, reaches: seen.data.reaches }),
    ...(record.rekey !== undefined && { rekey: { waitsFor } }),
    joinedAt: createdAt,
  }
}
