/** Routes of one organization: networks, databases, services, addresses. */
import { formatIpv6, parseIpv6 } from '../../../lib/address.ts'
import { activateAddress, findAddress, mintAddress } from '../objects/addresses.ts'
import { createDatabase } from '../objects/databases.ts'
import { createNetwork, findNetwork } from '../objects/networks.ts'
import { activateService, createTcpService, findService, removeService } from '../objects/services.ts'
import type { Registry } from '../registry.ts'
import type { OrgRecord, ServiceRecord } from '../store/records.ts'
import { addressDocument, networkDocument, orgDocument, redisDocument, serviceDocument } from './documents.ts'
import type { Call, Route } from './route.ts'
import { orgGet, orgPost, orgRemove } from './route.ts'
import { addressBody, networkBody, redisBody, serviceBody } from './schemas.ts'

export function orgRoutes(registry: Registry): Route[] {
  const { store, publisher, plan } = registry
  const servicesOf = (org: OrgRecord, kind: ServiceRecord['kind']): ServiceRecord[] =>
    store.list('services', org.id).filter((service) => service.kind === kind)

  const takeDown = async (call: Call, org: OrgRecord, kind?: ServiceRecord['kind']): Promise<object> => {
    const service = findService(store, org.id, call.params['name'] ?? '', kind)
    const { revision } = store.write(call.act(`${service.kind}.delete`), (transaction) => removeService(transaction, service))
    return { id: service.id, name: service.name, deleted: true, revocation: await publisher.takenDown(revision) }
  }

  return [
    orgGet('', (_call, org) => orgDocument(registry, org)),

    orgGet('/networks', (_call, org) => store.list('networks', org.id).map((network) => networkDocument(registry, network))),
    orgPost('/networks', networkBody, (call, org) => {
      const { result } = store.write(call.act('network.create'), (transaction) =>
        createNetwork(transaction, org, call.body.name, registry.quotas, registry.clock),
      )
      return networkDocument(registry, result)
    }),

    orgGet('/redis', (_call, org) => servicesOf(org, 'redis').map((service) => redisDocument(registry, service))),
    orgGet('/redis/:name', (call, org) => redisDocument(registry, findService(store, org.id, call.params['name'] ?? '', 'redis'))),
    orgPost('/redis', redisBody, async (call, org) => {
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
      return { ...redisDocument(registry, findService(store, org.id, service.id, 'redis')), provisioning }
    }),
    orgRemove('/redis/:name', (call, org) => takeDown(call, org, 'redis')),

    orgGet('/services', (_call, org) => store.list('services', org.id).map((service) => serviceDocument(registry, service))),
    orgGet('/services/:name', (call, org) => serviceDocument(registry, findService(store, org.id, call.params['name'] ?? ''))),
    orgPost('/services', serviceBody, async (call, org) => {
      const act = call.act('service.create')
      const network = findNetwork(store, org, call.body.network)
      const { result, revision } = store.write(act, (transaction) => createTcpService(transaction, org, network, call.body, plan))
      const { service } = result
      const provisioning = await publisher.bringUp(
        act,
        revision,
        (transaction) => activateService(transaction, service.id),
        (transaction) => removeService(transaction, service),
      )
      return { ...serviceDocument(registry, findService(store, org.id, service.id)), provisioning }
    }),
    orgRemove('/services/:name', (call, org) => takeDown(call, org, 'tcp')),

    orgGet('/addresses', (_call, org) => store.list('addresses', org.id).map((address) => addressDocument(registry, address))),
    orgPost('/addresses', addressBody, async (call, org) => {
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
    }),
    orgRemove('/addresses/:address', async (call, org) => {
      const address = findAddress(store, org.id, formatIpv6(parseIpv6(call.params['address'] ?? '')))
      const { revision } = store.write(call.act('address.delete'), (transaction) => transaction.remove('addresses', address.address))
      return { address: address.address, deleted: true, revocation: await publisher.takenDown(revision) }
    }),
  ]
}
