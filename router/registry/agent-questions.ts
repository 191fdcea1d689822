/** Asks agents: the one that holds a database's primary, or any. */
import { NearcastError } from '../../lib/errors.ts'
import type { QuestionAnswer, QuestionName, QuestionParams } from '../../lib/feed/questions.ts'
import { knownCode, QUESTIONS, refusedAnswer } from '../../lib/feed/questions.ts'
import type { Registry } from './registry.ts'
import type { ServiceRecord } from './store/records.ts'

/** The node of a database's primary, which is there. @throws NearcastError redis.node-away */
export function primaryOf(registry: Pick<Registry, 'feed'>, { placements }: Pick<ServiceRecord, 'placements'>): string {
  const node = placements.find(({ role }) => role === 'primary')?.node ?? ''
  if (registry.feed.isConnected(`agent/${node}`)) return node
  throw away(node)
}

/** @throws NearcastError redis.node-away, feed.ask-failed, feed.ask-timeout, and what the agent refuses with */
export async function askAgent<Name extends QuestionName>(
  registry: Pick<Registry, 'feed'>,
  node: string,
  name: Name,
  params: QuestionParams<Name>,
  timeoutMs: number,
): Promise<QuestionAnswer<Name>> {
  const identity = `agent/${node}`
  if (!registry.feed.isConnected(identity)) throw away(node)
  const said = await registry.feed.ask(identity, name, params, timeoutMs)
  const refused = refusedAnswer.safeParse(said)
  if (refused.success) {
    const { code, message } = refused.data.refused
    throw new NearcastError(knownCode(code), message, { side: 'upstream' })
  }
  const answer = QUESTIONS[name].answer.safeParse(said)
  // The schema was chosen by the same name as the type.
  if (answer.success) return answer.data as QuestionAnswer<Name>
  throw new NearcastError('feed.ask-failed', `${identity} answered in a form that this router does not know; upgrade the older one.`, { side: 'upstream' })
}

function away(node: string): NearcastError {
  return new NearcastError('redis.node-away', `agent/${node}, which holds the database or its backup, isn't connected to the router; try again when it is.`, { side: 'upstream', retryable: true })
}
