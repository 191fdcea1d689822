/** Routes of imports: a database follows a Redis elsewhere until it is cut over. The agent of its primary does the work. */
import type { QuestionName, QuestionParams } from '../../../lib/feed/questions.ts'
import { askAgent, primaryOf } from '../agent-questions.ts'
import { findService } from '../objects/services.ts'
import type { Registry } from '../registry.ts'
import type { OrgRecord } from '../store/records.ts'
import { importAnswer } from './redis-answers.ts'
import type { Call, Route } from './route.ts'
import { route } from './route.ts'
import { emptyBody, importBody } from './schemas.ts'

const PATH = '/v1/orgs/:org/redis/:name/import'
const ANSWER_MS = 5000

type ImportQuestion = Extract<QuestionName, `redis.import-${string}`>

export function importRoutes(registry: Registry): Route[] {
  const ask = async <Name extends ImportQuestion>(call: Pick<Call<unknown, unknown>, 'params'>, org: OrgRecord, name: Name, more: Omit<QuestionParams<Name>, 'service'>) => {
    const service = findService(registry.store, org.id, call.params['name'] ?? '', 'redis')
    const params = { ...more, service: service.id } as QuestionParams<Name>
    return importAnswer.parse(await askAgent(registry, primaryOf(registry, service), name, params, ANSWER_MS))
  }
  return [
    route({
      method: 'GET',
      path: PATH,
      access: 'org',
      summary: 'Show how far the import into a database is',
      answer: importAnswer,
      handle: (call, org) => ask(call, org, 'redis.import-status', {}),
    }),
    route({
      method: 'POST',
      path: PATH,
      access: 'org',
      summary: 'Replace what a database holds by that of a Redis elsewhere, and follow its writes until the cut-over',
      body: importBody,
      answer: importAnswer,
      handle: (call, org) => ask(call, org, 'redis.import-start', { from: call.body.from }),
    }),
    route({
      method: 'POST',
      path: `${PATH}/cut-over`,
      access: 'org',
      summary: 'End an import as soon as nothing is missing; both sides are counted and samples compared',
      body: emptyBody,
      status: 200,
      answer: importAnswer,
      handle: (call, org) => ask(call, org, 'redis.import-cut-over', {}),
    }),
    route({
      method: 'DELETE',
      path: PATH,
      access: 'org',
      summary: 'Stop an import; the database holds what has come so far',
      answer: importAnswer,
      handle: (call, org) => ask(call, org, 'redis.import-stop', {}),
    }),
  ]
}
