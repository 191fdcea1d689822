/** From every proxy to every node, as the proxies' own probes measured it: all connected proxies are asked at once. */
import type { z } from 'zod'
import { asNearcastError } from '../../../lib/errors.ts'
import type { Registry } from '../registry.ts'
import type { latencyAnswer } from './live-answers.ts'
import { measuringProxy } from './live-answers.ts'

const ANSWER_MS = 2000

type Latencies = z.infer<typeof latencyAnswer>

export async function latencyDocument(registry: Registry): Promise<Latencies> {
  const missing: { identity: string; reason: string }[] = []
  const answers = await Promise.all(
    registry.feed.connected('proxy').map(async (identity): Promise<Latencies['proxies']> => {
      try {
        const parsed = measuringProxy.safeParse(await registry.feed.ask(identity, 'status', { samples: true }, ANSWER_MS))
        if (parsed.success) return [parsed.data]
        missing.push({ identity, reason: 'It answered in a form that this router does not know.' })
      } catch (error) {
        missing.push({ identity, reason: asNearcastError(error).message })
      }
      return []
    }),
  )
  const proxies = answers.flat().toSorted((left, right) => (left.proxy < right.proxy ? -1 : 1))
  return { at: registry.clock().toISOString(), proxies, missing }
}
