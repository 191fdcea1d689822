/** What proxies and agents say of themselves right now: all connected ones are asked at once, none is waited for long. */
import type { z } from 'zod'
import { asNearcastError } from '../../../lib/errors.ts'
import type { Registry } from '../registry.ts'
import type { liveAnswer } from './live-answers.ts'
import { liveAgent, liveProxy } from './live-answers.ts'

const ANSWER_MS = 2000

type Live = z.infer<typeof liveAnswer>

export async function liveDocument(registry: Registry): Promise<Live> {
  const missing: { identity: string; reason: string }[] = []
  const ask = async <Report extends z.ZodType>(kind: 'proxy' | 'agent', report: Report): Promise<z.infer<Report>[]> => {
    const answers = await Promise.all(
      registry.feed.connected(kind).map(async (identity) => {
        try {
          const parsed = report.safeParse(await registry.feed.ask(identity, 'status', {}, ANSWER_MS))
          if (parsed.success) return [parsed.data]
          missing.push({ identity, reason: 'It answered in a form that this router does not know.' })
        } catch (error) {
          missing.push({ identity, reason: asNearcastError(error).message })
        }
        return []
      }),
    )
    return answers.flat()
  }
  const [proxies, agents] = await Promise.all([ask('proxy', liveProxy), ask('agent', liveAgent)])
  const ids = new Set(agents.flatMap((agent) => agent.databases.map(({ service }) => service)))
  return { revision: registry.store.revision, proxies, agents, services: [...ids].flatMap((id) => named(registry, id)), missing }
}

function named(registry: Registry, id: string): Live['services'] {
  const service = registry.store.get('services', id)
  const org = service === null ? null : registry.store.get('orgs', service.org)
  return service === null || org === null ? [] : [{ id, org: org.name, name: service.name, kind: service.kind }]
}
