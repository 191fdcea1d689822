/** Asks the agent that holds a database's primary. */
import { NearcastError } from '../../lib/errors.ts'
import type { QuestionAnswer, QuestionName, QuestionParams } from '../../lib/feed/questions.ts'
import { knownCode, QUESTIONS, refusedAnswer } from '../../lib/feed/questions.ts'
import type { Registry } from './registry.ts'
import type { ServiceRecord } from './store/records.ts'

/** @throws NearcastError redis.node-away, feed.ask-failed, feed.ask-timeout, and what the agent refuses with */
export async function askPrimary<Name extends QuestionName>(
  registry: Pick<Registry, 'feed'>,
  { placements }: Pick<ServiceRecord, 'placements'>,
  name: Name,
  params: QuestionParams<Name>,
  timeoutMs: number,
): Promise<QuestionAnswer<Name>> {
  const identity = `agent/${placements.find(({ role }) => role === 'primary')?.node ?? ''}`
  if (!registry.feed.isConnected(identity)) {
    throw new NearcastError('redis.node-away', `${identity}, which holds the database's primary, isn't connected to the router; try again when it is.`, { side: 'upstream', retryable: true })
  }
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
