/** Routes of statistics: what the nodes of a database say of it, and where its time goes. */
import { asNearcastError } from '../../../lib/errors.ts'
import { askAgent, primaryOf } from '../agent-questions.ts'
import { explain } from '../explain.ts'
import { findService } from '../objects/services.ts'
import type { Registry } from '../registry.ts'
import type { OrgRecord } from '../store/records.ts'
import { explainAnswer } from './live-answers.ts'
import { redisCommandsAnswer, redisSlowAnswer, redisStatisticsAnswer } from './redis-answers.ts'
import type { Call, Route } from './route.ts'
import { route } from './route.ts'

const PATH = '/v1/orgs/:org/redis/:name'
const ANSWER_MS = 3000
/** One that rests has to start. */
const ENGINE_MS = 5000
/** Asked for their way to the database. */
const MOST_PROXIES = 32

export function statisticsRoutes(registry: Registry): Route[] {
  return [
    route({
      method: 'GET',
      path: `${PATH}/statistics`,
      access: 'org',
      summary: 'Show what a database has used and how it fares, by each node that holds it and is connected',
      answer: redisStatisticsAnswer,
      handle: async (call, org) => {
        const service = find(registry, call, org)
        const asked = service.placements.map(async ({ node }) => {
          try {
            return { said: await askAgent(registry, node, 'redis.statistics', { service: service.id }, ANSWER_MS) }
          } catch (error) {
            return { missing: { node, code: asNearcastError(error).code } }
          }
        })
        const answers = await Promise.all(asked)
        return { nodes: answers.flatMap(({ said }) => said ?? []), missing: answers.flatMap(({ missing }) => missing ?? []) }
      },
    }),
    route({
      method: 'GET',
      path: `${PATH}/commands`,
      access: 'org',
      summary: 'List the commands that the engine of a database knows',
      answer: redisCommandsAnswer,
      handle: (call, org) => {
        const service = find(registry, call, org)
        return askAgent(registry, primaryOf(registry, service), 'redis.commands', { service: service.id }, ENGINE_MS)
      },
    }),
    route({
      method: 'GET',
      path: `${PATH}/slow`,
      access: 'org',
      summary: 'Show where the time of a database goes: the way from each proxy, its slowest commands, limits that were met',
      answer: redisSlowAnswer,
      handle: async (call, org) => {
        const service = find(registry, call, org)
        const node = primaryOf(registry, service)
        const [{ commands }, { latency, engineLatency, heldBack, limits }, ways] = await Promise.all([
          askAgent(registry, node, 'redis.slow', { service: service.id }, ANSWER_MS),
          askAgent(registry, node, 'redis.statistics', { service: service.id }, ANSWER_MS),
          Promise.all(registry.feed.connected('proxy').slice(0, MOST_PROXIES).map((proxy) => wayFrom(registry, proxy.replace('proxy/', ''), org, service.name))),
        ])
        return { node, ways: ways.flatMap((way) => way ?? []), latency, ...(engineLatency !== undefined && { engineLatency }), ...(heldBack !== undefined && { heldBack }), limits: limits.filter(({ hits }) => hits > 0), commands }
      },
    }),
  ]
}

function find(registry: Registry, { params }: Pick<Call<unknown, unknown>, 'params'>, org: OrgRecord) {
  return findService(registry.store, org.id, params['name'] ?? '', 'redis')
}

/** null: it doesn't say. */
async function wayFrom(registry: Registry, proxy: string, org: OrgRecord, name: string) {
  const report = explainAnswer.safeParse(await explain(registry, { from: org.name, to: name, proxy }).catch(() => null))
  const chosen = report.data?.candidates.find(({ node }) => node === report.data.chosen)
  return chosen === undefined ? null : { proxy, node: chosen.node, latencyMs: chosen.latencyMs, healthy: chosen.healthy }
}
