/** What the API passes on of what programs say about the present moment: explain, live, latencies (answers.ts says how schemas are used). */
import { z } from 'zod'
import { identity, listOf, milliseconds, port, revision } from './answers.ts'

/** Made by a proxy, which may be of another version: members that this one doesn't know pass. */
export const explainAnswer = z
  .looseObject({
    proxy: z.string(),
    revision,
    verdict: z.looseObject({ allowed: z.boolean(), reason: z.string().optional(), sourceNetwork: z.int().optional(), network: z.int().optional() }),
    service: z.string().optional(),
    name: z.string().optional(),
    port: port.optional(),
    candidates: listOf(
      z.looseObject({
        node: z.string(),
        region: z.string(),
        role: z.enum(['primary', 'replica', 'peer']),
        latencyMs: milliseconds.nullable(),
        connectMs: milliseconds.nullable(),
        healthy: z.boolean(),
        available: z.boolean(),
        reason: z.string().optional(),
        connections: z.int().min(0),
        load: z.number(),
        score: z.number().nullable(),
        rank: z.int().min(1).meta({ description: '1 is tried first.' }),
      }),
    ),
    chosen: z.string().optional(),
    why: z.string(),
  })
  .meta({ id: 'Explanation', description: 'Why a connection goes where it goes, by the tables that the data path reads.' })

const feedPosition = z.looseObject({ state: z.string(), revision })

/** Of programs, which may be of another version: members that this one doesn't know pass. */
export const liveProxy = z.looseObject({
  proxy: z.string(),
  region: z.string(),
  feed: feedPosition,
  addresses: z.int(),
  ports: listOf(z.int()),
  connections: z.int(),
  nodes: listOf(
    z.looseObject({
      node: z.string(),
      region: z.string(),
      hop: z.string(),
      healthy: z.boolean(),
      reason: z.string().optional(),
      reachable: z.boolean(),
      latencyMs: milliseconds.nullable(),
      connectMs: milliseconds.nullable(),
      connections: z.int(),
      load: z.number(),
      unavailable: z.int(),
    }),
  ),
})

const measured = z
  .object({
    count: z.int().min(1),
    p50: milliseconds,
    p90: milliseconds,
    p99: milliseconds,
    samples: listOf(milliseconds).meta({ description: 'The oldest first.' }),
  })
  .meta({ id: 'Measured', description: 'The last probes of one proxy to one node, in milliseconds.' })

/** What a latency report takes from a proxy's status. */
export const measuringProxy = z.object({
  proxy: z.string(),
  region: z.string(),
  nodes: listOf(
    z.object({
      node: z.string(),
      region: z.string(),
      healthy: z.boolean(),
      connect: measured.nullable().meta({ description: 'A fresh dial, TLS handshake included; null before the first.' }),
      rtt: measured.nullable().meta({ description: 'Question to answer on that connection.' }),
    }),
  ),
})

export const latencyAnswer = z
  .strictObject({
    at: z.iso.datetime(),
    proxies: listOf(measuringProxy),
    missing: listOf(z.strictObject({ identity, reason: z.string() })).meta({ description: 'Proxies that did not answer.' }),
  })
  .meta({ id: 'Latencies', description: 'From every connected proxy to every node.' })

export const liveAgent = z.looseObject({
  agent: z.string(),
  region: z.string(),
  feed: feedPosition,
  connections: z.int(),
  databases: listOf(
    z.looseObject({
      service: z.string(),
      role: z.enum(['primary', 'replica']),
      reason: z.string().nullable(),
      writesRefused: z.boolean(),
      linked: z.boolean().nullable(),
      connections: z.int(),
    }),
  ),
})

export const liveAnswer = z
  .strictObject({
    revision,
    proxies: listOf(liveProxy),
    agents: listOf(liveAgent),
    services: listOf(z.strictObject({ id: z.string(), org: z.string(), name: z.string(), kind: z.string() })).meta({
      description: 'Names of the services that agents speak of.',
    }),
    missing: listOf(z.strictObject({ identity, reason: z.string() })).meta({ description: 'Programs that did not answer.' }),
  })
  .meta({ id: 'Live', description: 'What proxies and agents say of themselves at this moment.' })
