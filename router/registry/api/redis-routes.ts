/** Routes of databases: their life, their settings, who may use them. */
import { NearcastError } from '../../../lib/errors.ts'
import { askAgent, primaryOf } from '../agent-questions.ts'
import { setAddressTls } from '../objects/address-tls.ts'
import { addUser, checkedRules, findUser, removeUser, resetPassword, setAllowedSources, setDailyBackups, setParking } from '../objects/database-access.ts'
import { createDatabase } from '../objects/databases.ts'
import { checkSizeChange, setSize } from '../objects/plans.ts'
import { findNetwork } from '../objects/networks.ts'
import { activateService, findService, removeService } from '../objects/services.ts'
import type { Registry } from '../registry.ts'
import type { OrgRecord, ServiceRecord } from '../store/records.ts'
import type { StoreTransaction } from '../store/store.ts'
import { changedAnswer, listOf, provisioned, takenDownAnswer } from './answers.ts'
import { planAnswer, redisAnswer, redisUserAnswer, removedUserAnswer } from './redis-answers.ts'
import { redisDocument, redisUserDocument } from './documents.ts'
import { backupRoutes } from './backup-routes.ts'
import { importRoutes } from './import-routes.ts'
import type { Call, Route } from './route.ts'
import { route } from './route.ts'
import { redisBody, redisChangeBody, redisUserBody, resetPasswordBody } from './schemas.ts'
import { statisticsRoutes } from './statistics-routes.ts'
import { takeDown } from './take-down.ts'

const PATH = '/v1/orgs/:org/redis'
/** An engine that rests has to start first. */
const CHECK_MS = 5000

export function redisRoutes(registry: Registry): Route[] {
  return [...lifeRoutes(registry), ...accessRoutes(registry), ...backupRoutes(registry), ...importRoutes(registry), ...statisticsRoutes(registry)]
}

function lifeRoutes(registry: Registry): Route[] {
  const { store, publisher, plan, plans } = registry
  return [
    route({
      method: 'GET',
      path: '/v1/plans',
      access: 'token',
      summary: 'List the plans that databases may be put on',
      answer: listOf(planAnswer),
      handle: () => [...plans.plans],
    }),
    route({
      method: 'GET',
      path: PATH,
      access: 'org',
      summary: 'List databases',
      answer: listOf(redisAnswer),
      handle: (call, org) =>
        store
          .list('services', org.id)
          .filter((service) => service.kind === 'redis')
          .map((service) => redisDocument(registry, service, call.showsSecrets)),
    }),
    route({
      method: 'GET',
      path: `${PATH}/:name`,
      access: 'org',
      summary: 'Show a database',
      answer: redisAnswer,
      handle: (call, org) => redisDocument(registry, database(registry, call, org), call.showsSecrets),
    }),
    route({
      method: 'POST',
      path: PATH,
      access: 'org',
      summary: 'Create a database; answers when every connected proxy has acknowledged, at most after 5 s',
      body: redisBody,
      answer: provisioned(redisAnswer),
      handle: async (call, org) => {
        const act = call.act('redis.create')
        const network = findNetwork(store, org, call.body.network)
        const { result, revision } = store.write(act, (transaction) => {
          const made = createDatabase(transaction, org, network, call.body, plan)
          setAddressTls(transaction, made.address, call.body.tls)
          setSize(transaction, made.service.id, { plan: call.body.plan ?? registry.plans.defaultPlan, eviction: call.body.eviction }, registry.plans)
          return made
        })
        const { service } = result
        const provisioning = await publisher.bringUp(
          act,
          revision,
          (transaction) => activateService(transaction, service.id),
          (transaction) => removeService(transaction, service),
        )
        return { ...redisDocument(registry, findService(store, org.id, service.id, 'redis'), call.showsSecrets), provisioning }
      },
    }),
    route({
      method: 'PATCH',
      path: `${PATH}/:name`,
      access: 'org',
      summary: 'Change a database: plan, limits, eviction, allowed sources, daily backups, when its engine rests; null ends each',
      body: redisChangeBody,
      answer: changedAnswer(redisAnswer),
      handle: (call, org) => {
        checkSizeChange(call.body, call.memberOf === undefined)
        return changed(registry, call, org, 'redis.change', (transaction, { id }) => {
          setSize(transaction, id, call.body, registry.plans)
          setAllowedSources(transaction, id, call.body.allowedSources)
          setDailyBackups(transaction, id, call.body.dailyBackups)
          setParking(transaction, id, call.body.parkAfterMinutes)
        })
      },
    }),
    route({
      method: 'DELETE',
      path: `${PATH}/:name`,
      access: 'org',
      summary: 'Destroy a database and its addresses, for ever',
      answer: takenDownAnswer,
      handle: (call, org) => takeDown(registry, call, org, 'redis'),
    }),
  ]
}

function accessRoutes(registry: Registry): Route[] {
  const { store, publisher, vault, clock } = registry
  const users = `${PATH}/:name/users`
  return [
    route({
      method: 'POST',
      path: `${PATH}/:name/reset-password`,
      access: 'org',
      summary: 'Give a database a new password; open connections go by the policy of its live connections',
      body: resetPasswordBody,
      status: 200,
      answer: changedAnswer(redisAnswer),
      handle: (call, org) => changed(registry, call, org, 'redis.reset-password', (transaction, { id }) => resetPassword(transaction, id, null, vault)),
    }),
    route({
      method: 'GET',
      path: users,
      access: 'org',
      summary: 'List the users of a database beside "default"',
      answer: listOf(redisUserAnswer),
      handle: (call, org) => {
        const service = database(registry, call, org)
        return (service.redis?.users ?? []).map((user) => redisUserDocument(registry, service, user, call.showsSecrets))
      },
    }),
    route({
      method: 'POST',
      path: users,
      access: 'org',
      summary: 'Add a user with rules of its own; the engine of the database is asked whether it takes them',
      body: redisUserBody,
      answer: changedAnswer(redisUserAnswer),
      handle: async (call, org) => {
        const service = database(registry, call, org)
        await askAgent(registry, primaryOf(registry, service), 'redis.check-rules', { service: service.id, rules: checkedRules(call.body.rules) }, CHECK_MS)
        const { revision } = store.write(call.act('redis.user-create'), (transaction) => addUser(transaction, service.id, call.body, vault, clock))
        return { ...userOf(registry, call, org, call.body.name), change: await publisher.inForce(revision) }
      },
    }),
    route({
      method: 'POST',
      path: `${users}/:user/reset-password`,
      access: 'org',
      summary: 'Give a user of a database a new password; open connections go by the policy of its live connections',
      body: resetPasswordBody,
      status: 200,
      answer: changedAnswer(redisUserAnswer),
      handle: async (call, org) => {
        const { id } = database(registry, call, org)
        const user = call.params['user'] ?? ''
        const { revision } = store.write(call.act('redis.user-reset-password'), (transaction) => resetPassword(transaction, id, user, vault))
        return { ...userOf(registry, call, org, user), change: await publisher.inForce(revision) }
      },
    }),
    route({
      method: 'DELETE',
      path: `${users}/:user`,
      access: 'org',
      summary: 'Remove a user of a database; its open connections end at once',
      answer: removedUserAnswer,
      handle: async (call, org) => {
        const { id } = database(registry, call, org)
        const name = call.params['user'] ?? ''
        const { revision } = store.write(call.act('redis.user-delete'), (transaction) => removeUser(transaction, id, name, vault))
        return { name, deleted: true as const, revocation: await publisher.inForce(revision) }
      },
    }),
  ]
}

type Named = Pick<Call<unknown, unknown>, 'params' | 'showsSecrets' | 'act'>

/** @throws NearcastError redis.not-found */
function database({ store }: Registry, { params }: Named, org: OrgRecord): ServiceRecord {
  return findService(store, org.id, params['name'] ?? '', 'redis')
}

async function changed(registry: Registry, call: Named, org: OrgRecord, what: string, change: (transaction: StoreTransaction, service: ServiceRecord) => void) {
  const service = database(registry, call, org)
  const { revision } = registry.store.write(call.act(what), (transaction) => change(transaction, service))
  const inForce = await registry.publisher.inForce(revision)
  return { ...redisDocument(registry, findService(registry.store, org.id, service.id, 'redis'), call.showsSecrets), change: inForce }
}

function userOf(registry: Registry, call: Named, org: OrgRecord, name: string) {
  const service = database(registry, call, org)
  if (service.redis === undefined) throw new NearcastError('internal', `${service.id} is no database.`)
  return redisUserDocument(registry, service, findUser(service.redis, name), call.showsSecrets)
}
