/** Routes of grants: the owner of a service gives one, either side mints addresses under it, either side ends it. */
import { activateAddress, findAddress } from '../objects/addresses.ts'
import { addressesUnder, createGrant, findGrant, grantsOf, mintGranted, revokeGrant } from '../objects/grants.ts'
import type { Registry } from '../registry.ts'
import type { AddressRecord, GrantRecord } from '../store/records.ts'
import type { StoreTransaction } from '../store/store.ts'
import { addressAnswer, grantAnswer, listOf, provisioned, revokedAnswer } from './answers.ts'
import { addressDocument, grantDocument } from './documents.ts'
import type { Call, Route } from './route.ts'
import { route } from './route.ts'
import { grantAddressBody, grantBody } from './schemas.ts'

const PATH = '/v1/orgs/:org/grants'

export function grantRoutes(registry: Registry): Route[] {
  const { store, publisher, plan } = registry
  return [
    route({
      method: 'GET',
      path: PATH,
      access: 'org',
      summary: 'List grants, given and received',
      answer: listOf(grantAnswer),
      handle: (call, org) => grantsOf(store, org.id).map((grant) => grantDocument(registry, grant, showsGrantee(call, grant))),
    }),
    route({
      method: 'GET',
      path: `${PATH}/:id`,
      access: 'org',
      summary: 'Show a grant',
      answer: grantAnswer,
      handle: (call, org) => {
        const grant = findGrant(store, org.id, call.params['id'] ?? '')
        return grantDocument(registry, grant, showsGrantee(call, grant))
      },
    }),
    route({
      method: 'POST',
      path: PATH,
      access: 'org',
      summary: "Let another organization have addresses of a service on its own networks; members name it by its id",
      body: grantBody,
      answer: grantAnswer,
      handle: (call, org) => {
        const named = call.memberOf === undefined
        const { result } = store.write(call.act('grant.create'), (transaction) => createGrant(transaction, org, call.body, named, plan))
        return grantDocument(registry, result, named)
      },
    }),
    route({
      method: 'POST',
      path: `${PATH}/:id/addresses`,
      access: 'org',
      summary: 'Mint an address under a grant, on a network of the grantee',
      body: grantAddressBody,
      answer: provisioned(addressAnswer),
      handle: (call, org) => {
        const grant = findGrant(store, org.id, call.params['id'] ?? '')
        const named = call.memberOf === undefined || call.memberOf === grant.grantee
        return bringUpAddress(registry, call, (transaction) => mintGranted(transaction, grant, call.body.network, named, plan))
      },
    }),
    route({
      method: 'DELETE',
      path: `${PATH}/:id`,
      access: 'org',
      summary: 'End a grant, from either side; its addresses are revoked everywhere and never given out again',
      answer: revokedAnswer,
      handle: async (call, org) => {
        const grant = findGrant(store, org.id, call.params['id'] ?? '')
        const addresses = addressesUnder(store, grant.id).map(({ address }) => address)
        const { revision } = store.write(call.act('grant.delete'), (transaction) => revokeGrant(transaction, grant))
        return { id: grant.id, deleted: true as const, addresses, revocation: await publisher.inForce(revision) }
      },
    }),
  ]
}

/** Mints an address, shows it to agents, then to proxies, and answers when they have it. */
export async function bringUpAddress(registry: Registry, call: Pick<Call, 'act'>, mint: (transaction: StoreTransaction) => AddressRecord) {
  const { store, publisher } = registry
  const act = call.act('address.create')
  const { result, revision } = store.write(act, mint)
  const provisioning = await publisher.bringUp(
    act,
    revision,
    (transaction) => activateAddress(transaction, result.address),
    (transaction) => transaction.remove('addresses', result.address),
  )
  return { ...addressDocument(registry, findAddress(store, result.org, result.address)), provisioning }
}

/** The name of the grantee is for itself and for operators; the owner knows its id. */
function showsGrantee({ memberOf }: Pick<Call, 'memberOf'>, { grantee }: GrantRecord): boolean {
  return memberOf === undefined || memberOf === grantee
}
