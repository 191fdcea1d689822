/** Routes of one organization: networks, services, addresses; grants and databases from their own files. */
import { formatIpv6, parseIpv6 } from '../../../lib/address.ts'
import { NearcastError } from '../../../lib/errors.ts'
import { setAddressTls } from '../objects/address-tls.ts'
import { addressesOfOrg, findAddress, mintAddress } from '../objects/addresses.ts'
import { findReceivedGrant, mintGranted } from '../objects/grants.ts'
import { setAddressLimits, setNetworkLimits } from '../objects/limits.ts'
import { createNetwork, findNetwork } from '../objects/networks.ts'
import { activateService, createService, findService, removeService, setLive, setShadow } from '../objects/services.ts'
import { findOrg } from '../objects/orgs.ts'
import type { Registry } from '../registry.ts'
import {
  addressAnswer,
  addressChangedAnswer,
  addressRemovedAnswer,
  changedAnswer,
  listOf,
  networkAnswer,
  orgAnswer,
  provisioned,
  serviceAnswer,
  takenDownAnswer,
} from './answers.ts'
import { addressDocument, networkDocument, orgDocument, serviceDocument } from './documents.ts'
import { bringUpAddress, grantRoutes } from './grant-routes.ts'
import { redisRoutes } from './redis-routes.ts'
import type { Call, Route } from './route.ts'
import { route } from './route.ts'
import { addressBody, addressChangeBody, networkBody, networkChangeBody, serviceBody, serviceChangeBody } from './schemas.ts'
import { takeDown } from './take-down.ts'
import { wireguardRoutes } from './wireguard-routes.ts'

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
    ...grantRoutes(registry),
    ...wireguardRoutes(registry),
  ]
}

function networkRoutes(registry: Registry): Route[] {
  const { store, publisher } = registry
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
    route({
      method: 'PATCH',
      path: `${path}/:name`,
      access: 'operator',
      summary: 'Change the limits of a network; null ends a limit',
      body: networkChangeBody,
      answer: changedAnswer(networkAnswer),
      handle: async (call) => {
        const org = findOrg(store, call.params['org'] ?? '')
        const network = findNetwork(store, org, call.params['name'] ?? '')
        const { revision } = store.write(call.act('network.change'), (transaction) => setNetworkLimits(transaction, network, call.body.limits))
        const change = await publisher.inForce(revision)
        return { ...networkDocument(registry, findNetwork(store, org, String(network.id))), change }
      },
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
      method: 'PATCH',
      path: `${path}/:name`,
      access: 'org',
      summary: 'Change what becomes of live connections of a service or database (null: the usual), or, for operators, its shadow mode',
      body: serviceChangeBody,
      answer: changedAnswer(serviceAnswer),
      handle: async (call, org) => {
        if (call.body.shadow !== undefined && call.memberOf !== undefined) {
          throw new NearcastError('service.shadow-forbidden', 'Only an operator may turn isolation into a mere report; ask one.', { side: 'client' })
        }
        const { id } = findService(store, org.id, call.params['name'] ?? '')
        const { revision } = store.write(call.act('service.change'), (transaction) => {
          setLive(transaction, id, call.body.live)
          setShadow(transaction, id, call.body.shadow)
        })
        const change = await publisher.inForce(revision)
        return { ...serviceDocument(registry, findService(store, org.id, id), showsBackend(call)), change }
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
      summary: 'List Flycast addresses, those by grants included: given and received',
      answer: listOf(addressAnswer),
      handle: (_call, org) => addressesOfOrg(store, org.id).map((address) => addressDocument(registry, address)),
    }),
    route({
      method: 'POST',
      path,
      access: 'org',
      summary: 'Mint a further address of a service, or one of a service that was granted (`owner/service`)',
      body: addressBody,
      answer: provisioned(addressAnswer),
      handle: async (call, org) => {
        const { service, tls } = call.body
        const network = findNetwork(store, org, call.body.network)
        if (!service.includes('/')) {
          return bringUpAddress(registry, call, (transaction) => {
            const minted = mintAddress(transaction, findService(transaction, org.id, service), network, plan)
            setAddressTls(transaction, minted, tls)
            return minted
          })
        }
        if (tls !== undefined) throw new NearcastError('api.body-invalid', 'tls: of a granted address it is set by the owner of the service.', { side: 'client' })
        return bringUpAddress(registry, call, (transaction) =>
          mintGranted(transaction, findReceivedGrant(transaction, org, service, network), String(network.id), true, plan),
        )
      },
    }),
    route({
      method: 'PATCH',
      path: `${path}/:address`,
      access: 'org',
      summary: 'Change TLS (for connections from then on) or limits (null ends one) of an address of your own services',
      body: addressChangeBody,
      answer: addressChangedAnswer,
      handle: async (call, org) => {
        const address = findAddress(store, org.id, formatIpv6(parseIpv6(call.params['address'] ?? '')), 'owner')
        const { revision } = store.write(call.act('address.change'), (transaction) => {
          setAddressTls(transaction, address, call.body.tls)
          setAddressLimits(transaction, address, call.body.limits)
        })
        const change = await publisher.inForce(revision)
        return { ...addressDocument(registry, findAddress(store, org.id, address.address)), change }
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
        return { address: address.address, deleted: true as const, revocation: await publisher.inForce(revision) }
      },
    }),
  ]
}

/** Where things are on the hosts of the fleet is the operator's own concern. */
function showsBackend(call: Pick<Call, 'memberOf'>): boolean {
  return call.memberOf === undefined
}
