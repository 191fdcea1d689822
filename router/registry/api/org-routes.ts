/** Routes of one organization: networks, databases, services, addresses. */
import { formatIpv6, parseIpv6 } from '../../../lib/address.ts'
import { NearcastError } from '../../../lib/errors.ts'
import { activateAddress, findAddress, mintAddress } from '../objects/addresses.ts'
import { createDatabase } from '../objects/databases.ts'
import { createNetwork, findNetwork } from '../objects/networks.ts'
import { activateService, createService, findService, removeService } from '../objects/services.ts'
import type { Registry } from '../registry.ts'
import type { OrgRecord } from '../store/records.ts'
import {
  addressAnswer,
  addressRemovedAnswer,
  listOf,
  networkAnswer,
  orgAnswer,
  provisioned,
  redisAnswer,
  serviceAnswer,
  takenDownAnswer,
} from './answers.ts'
import { addressDocument, networkDocument, orgDocument, redisDocument, serviceDocument } from './documents.ts'
import type { Call, Route } from './route.ts'
import { route } from './route.ts'
import { addressBody, networkBody, redisBody, serviceBody } from './schemas.ts'

const ORG = '/v1/orgs/:org'

export function orgRoutes(registry: Registry): Route[] {
  return [
    route({
      method: 'GET',
      path: ORG,
      access: 'org',
      summary: 'Show an organization',
      answer: orgAnswer,
      handle: (_call, org) => orgDocument(registry, org),
    }),
    ...networkRoutes(registry),
    ...redisRoutes(registry),
    ...serviceRoutes(registry),
    ...addressRoutes(registry),
  ]
}

function networkRoutes(registry: Registry): Route[] {
  const { store } = registry
  const path = `${ORG}/networks`
  return [
    route({
      method: 'GET',
      path,
      access: 'org',
      summary: 'List networks',
      answer: listOf(networkAnswer),
      handle: (_call, org) => store.list('networks', org.id).map((network) => networkDocument(registry, network)),
    }),
    route({
      method: 'POST',
      path,
      access: 'org',
      summary: 'Add a network',
      body: networkBody,
      answer: networkAnswer,
      handle: (call, org) => {
        const { result } = store.write(call.act('network.create'), (transaction) =>
          createNetwork(transaction, org, call.body.name, registry.quotas, registry.clock),
        )
        return networkDocument(registry, result)
      },
    }),
  ]
}

function redisRoutes(registry: Registry): Route[] {
  const { store, publisher, plan } = registry
  const path = `${ORG}/redis`
  return [
    route({
      method: 'GET',
      path,
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
      path: `${path}/:name`,
      access: 'org',
      summary: 'Show a database',
      answer: redisAnswer,
      handle: (call, org) => redisDocument(registry, findService(store, org.id, call.params['name'] ?? '', 'redis'), call.showsSecrets),
    }),
    route({
      method: 'POST',
      path,
      access: 'org',
      summary: 'Create a database; answers when every connected proxy has acknowledged, at most after 5 s',
      body: redisBody,
      answer: provisioned(redisAnswer),
      handle: async (call, org) => {
        const act = call.act('redis.create')
        const network = findNetwork(store, org, call.body.network)
        const { result, revision } = store.write(act, (transaction) => createDatabase(transaction, org, network, call.body, plan))
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
      method: 'DELETE',
      path: `${path}/:name`,
      access: 'org',
      summary: 'Destroy a database and its addresses, for ever',
      answer: takenDownAnswer,
      handle: (call, org) => takeDown(registry, call, org, 'redis'),
    }),
  ]
}

function serviceRoutes(registry: Registry): Route[] {
  const { store, publisher, plan } = registry
  const path = `${ORG}/services`
  return [
    route({
      method: 'GET',
      path,
      access: 'org',
      summary: 'List services, databases included',
      answer: listOf(serviceAnswer),
      handle: (call, org) => store.list('services', org.id).map((service) => serviceDocument(registry, service, showsBackend(call))),
    }),
    route({
      method: 'GET',
      path: `${path}/:name`,
      access: 'org',
      summary: 'Show a service',
      answer: serviceAnswer,
      handle: (call, org) => serviceDocument(registry, findService(store, org.id, call.params['name'] ?? ''), showsBackend(call)),
    }),
    route({
      method: 'POST',
      path,
      access: 'org',
      summary: 'Add a service on nodes that read PROXY headers themselves, or, for operators, behind agents',
      body: serviceBody,
      answer: provisioned(serviceAnswer),
      handle: async (call, org) => {
        if (call.body.backend !== undefined && call.memberOf !== undefined) {
          throw new NearcastError('service.backend-forbidden', 'Only an operator may name a backend; ask one to make this service.', { side: 'client' })
        }
        const act = call.act('service.create')
        const network = findNetwork(store, org, call.body.network)
        const { result, revision } = store.write(act, (transaction) => createService(transaction, org, network, call.body, plan))
        const { service } = result
        const provisioning = await publisher.bringUp(
          act,
          revision,
          (transaction) => activateService(transaction, service.id),
          (transaction) => removeService(transaction, service),
        )
        return { ...serviceDocument(registry, findService(store, org.id, service.id), showsBackend(call)), provisioning }
      },
    }),
    route({
      method: 'DELETE',
      path: `${path}/:name`,
      access: 'org',
      summary: 'Remove a service and its addresses',
      answer: takenDownAnswer,
      handle: (call, org) => takeDown(registry, call, org, 'other'),
    }),
  ]
}

function addressRoutes(registry: Registry): Route[] {
  const { store, publisher, plan } = registry
  const path = `${ORG}/addresses`
  return [
    route({
      method: 'GET',
      path,
      access: 'org',
      summary: 'List Flycast addresses',
      answer: listOf(addressAnswer),
      handle: (_call, org) => store.list('addresses', org.id).map((address) => addressDocument(registry, address)),
    }),
    route({
      method: 'POST',
      path,
      access: 'org',
      summary: 'Mint a further address of a service',
      body: addressBody,
      answer: provisioned(addressAnswer),
      handle: async (call, org) => {
        const act = call.act('address.create')
        const network = findNetwork(store, org, call.body.network)
        const { result, revision } = store.write(act, (transaction) =>
          mintAddress(transaction, findService(transaction, org.id, call.body.service), network, plan),
        )
        const provisioning = await publisher.bringUp(
          act,
          revision,
          (transaction) => activateAddress(transaction, result.address),
          (transaction) => transaction.remove('addresses', result.address),
        )
        return { ...addressDocument(registry, findAddress(store, org.id, result.address)), provisioning }
      },
    }),
    route({
      method: 'DELETE',
      path: `${path}/:address`,
      access: 'org',
      summary: 'Revoke an address; its bits are never given out again',
      answer: addressRemovedAnswer,
      handle: async (call, org) => {
        const address = findAddress(store, org.id, formatIpv6(parseIpv6(call.params['address'] ?? '')))
        const { revision } = store.write(call.act('address.delete'), (transaction) => transaction.remove('addresses', address.address))
        return { address: address.address, deleted: true as const, revocation: await publisher.takenDown(revision) }
      },
    }),
  ]
}

/** Where things are on the hosts of the fleet is the operator's own concern. */
function showsBackend(call: Pick<Call, 'memberOf'>): boolean {
  return call.memberOf === undefined
}

async function takeDown(registry: Registry, call: Call<unknown, unknown>, org: OrgRecord, kind: 'redis' | 'other') {
  const { store, publisher } = registry
  const service = findService(store, org.id, call.params['name'] ?? '', kind)
  const { revision } = store.write(call.act(`${service.kind}.delete`), (transaction) => removeService(transaction, service))
  return { id: service.id, name: service.name, deleted: true as const, revocation: await publisher.takenDown(revision) }
}
