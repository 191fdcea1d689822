/** Routes of the operator: orgs, nodes, proxies, tokens, keys, audit, status, explain; and the join of programs. */
import { NearcastError } from '../../../lib/errors.ts'
import { explain } from '../explain.ts'
import { addJoinToken, checkJoinToken, enroll, removeProxy } from '../objects/members.ts'
import { addForeignNode, findNode, removeNode, setDraining } from '../objects/nodes.ts'
import { createOrg } from '../objects/orgs.ts'
import { createToken, removeToken } from '../objects/tokens.ts'
import type { Registry } from '../registry.ts'
import { newJoinToken } from '../trust/secret-token.ts'
import { backboneRoutes } from './backbone-routes.ts'
import {
  auditAnswer,
  changedAnswer,
  joinAnswer,
  joinTokenAnswer,
  listOf,
  nodeAnswer,
  orgAnswer,
  programAnswer,
  regionAnswer,
  removedAnswer,
  rotationAnswer,
  statusAnswer,
  tokenAnswer,
  tokenMadeAnswer,
} from './answers.ts'
import { explainAnswer, latencyAnswer, liveAnswer } from './live-answers.ts'
import { nodeDocument, orgDocument, tokenDocument } from './documents.ts'
import { latencyDocument } from './latency.ts'
import { liveDocument } from './live.ts'
import type { Route } from './route.ts'
import { route } from './route.ts'
import { auditQuery, emptyBody, explainQuery, joinBody, joinTokenBody, nodeBody, nodeChangeBody, orgBody, tokenBody } from './schemas.ts'
import { proxiesDocument, regionsDocument, statusDocument } from './status.ts'
import { gatewayRoutes } from './wireguard-routes.ts'

export function operatorRoutes(registry: Registry): Route[] {
  return [...orgsRoutes(registry), ...fleetRoutes(registry), ...gatewayRoutes(registry), ...backboneRoutes(registry), ...tokenRoutes(registry), ...joinRoutes(registry), ...insightRoutes(registry)]
}

function orgsRoutes(registry: Registry): Route[] {
  const { store, clock } = registry
  return [
    route({
      method: 'GET',
      path: '/v1/orgs',
      access: 'token',
      summary: 'List organizations: an operator sees all, a member its own',
      answer: listOf(orgAnswer),
      handle: (call) =>
        store
          .list('orgs')
          .filter((org) => call.memberOf === undefined || call.memberOf === org.id)
          .map((org) => orgDocument(registry, org)),
    }),
    route({
      method: 'POST',
      path: '/v1/orgs',
      access: 'operator',
      summary: 'Add an organization, with a network of its own',
      body: orgBody,
      answer: orgAnswer,
      handle: (call) => {
        const { result } = store.write(call.act('org.create'), (transaction) => createOrg(transaction, call.body.name, clock))
        return orgDocument(registry, result.org)
      },
    }),
  ]
}

function fleetRoutes(registry: Registry): Route[] {
  const { store, clock, rotation, publisher } = registry
  return [
    route({
      method: 'GET',
      path: '/v1/nodes',
      access: 'operator',
      summary: 'List data nodes',
      answer: listOf(nodeAnswer),
      handle: () => store.list('nodes').map((node) => nodeDocument(registry, node)),
    }),
    route({
      method: 'GET',
      path: '/v1/nodes/:id',
      access: 'operator',
      summary: 'Show a data node',
      answer: nodeAnswer,
      handle: (call) => nodeDocument(registry, findNode(store, call.params['id'] ?? '')),
    }),
    route({
      method: 'POST',
      path: '/v1/nodes',
      access: 'operator',
      summary: 'Add a foreign node, which reads PROXY headers itself',
      body: nodeBody,
      answer: nodeAnswer,
      handle: (call) => {
        const node = { ...call.body, host: call.body.host ?? `foreign/${call.body.id}` }
        const { result } = store.write(call.act('node.create'), (transaction) => addForeignNode(transaction, node, clock))
        return nodeDocument(registry, result)
      },
    }),
    route({
      method: 'DELETE',
      path: '/v1/nodes/:id',
      access: 'operator',
      summary: 'Revoke an agent, or remove a foreign node',
      answer: removedAnswer,
      handle: async (call) => {
        const id = call.params['id'] ?? ''
        const { revision } = store.write(call.act('node.delete'), (transaction) => removeNode(transaction, id))
        rotation.advance()
        return { id, deleted: true as const, revocation: await publisher.inForce(revision) }
      },
    }),
    route({
      method: 'PATCH',
      path: '/v1/nodes/:id',
      access: 'operator',
      summary: 'Drain a node: new connections go there only when no other node is left, live ones by the policy of their service',
      body: nodeChangeBody,
      answer: changedAnswer(nodeAnswer),
      handle: async (call) => {
        const { id } = findNode(store, call.params['id'] ?? '')
        const { draining } = call.body
        const { revision } = store.write(call.act('node.change'), (transaction) => {
          if (draining !== undefined) setDraining(transaction, id, draining)
        })
        const change = await publisher.inForce(revision)
        return { ...nodeDocument(registry, findNode(store, id)), change }
      },
    }),
    route({
      method: 'GET',
      path: '/v1/proxies',
      access: 'operator',
      summary: 'List proxies',
      answer: listOf(programAnswer),
      handle: () => proxiesDocument(registry),
    }),
    route({
      method: 'DELETE',
      path: '/v1/proxies/:id',
      access: 'operator',
      summary: 'Revoke a proxy',
      answer: removedAnswer,
      handle: async (call) => {
        const id = call.params['id'] ?? ''
        const { revision } = store.write(call.act('proxy.delete'), (transaction) => removeProxy(transaction, id))
        rotation.advance()
        return { id, deleted: true as const, revocation: await publisher.inForce(revision) }
      },
    }),
    route({
      method: 'POST',
      path: '/v1/hop-keys/rotate',
      access: 'operator',
      summary: 'Begin a rotation of the hop keys; GET /v1/status says when it is done',
      body: emptyBody,
      answer: rotationAnswer,
      handle: (call) => rotation.rotate(call.act('hop-keys.rotate')),
    }),
  ]
}

function tokenRoutes(registry: Registry): Route[] {
  const { store, clock, publisher } = registry
  return [
    route({
      method: 'GET',
      path: '/v1/tokens',
      access: 'operator',
      summary: 'List API tokens',
      answer: listOf(tokenAnswer),
      handle: () => store.list('tokens').map(tokenDocument),
    }),
    route({
      method: 'GET',
      path: '/v1/whoami',
      access: 'token',
      summary: 'Show the token that asks',
      answer: tokenAnswer,
      handle: (call) => {
        if (call.token === null) throw new NearcastError('internal', 'A route for tokens was asked without one.')
        return tokenDocument(call.token)
      },
    }),
    route({
      method: 'POST',
      path: '/v1/tokens',
      access: 'operator',
      summary: 'Make an API token',
      body: tokenBody,
      answer: tokenMadeAnswer,
      handle: (call) => {
        const { result } = store.write(call.act('token.create'), (transaction) => createToken(transaction, call.body, clock))
        return { ...tokenDocument(result.record), token: result.token }
      },
    }),
    route({
      method: 'DELETE',
      path: '/v1/tokens/:id',
      access: 'operator',
      summary: 'Revoke an API token',
      answer: removedAnswer,
      handle: async (call) => {
        const id = call.params['id'] ?? ''
        const { revision } = store.write(call.act('token.delete'), (transaction) => removeToken(transaction, id))
        return { id, deleted: true as const, revocation: await publisher.inForce(revision) }
      },
    }),
  ]
}

function joinRoutes(registry: Registry): Route[] {
  const { store, clock } = registry
  return [
    route({
      method: 'POST',
      path: '/v1/join-tokens',
      access: 'operator',
      summary: 'Make a single-use token for a program to join with',
      body: joinTokenBody,
      answer: joinTokenAnswer,
      handle: (call) => {
        const token = newJoinToken(registry.authority.fingerprint)
        const { result } = store.write(call.act('join-token.create'), (transaction) => addJoinToken(transaction, token, call.body, clock))
        return { token, expiresAt: result.expiresAt }
      },
    }),
    route({
      method: 'POST',
      path: '/v1/join',
      access: 'join',
      summary: 'Join as a program: a certificate for its key',
      body: joinBody,
      answer: joinAnswer,
      handle: async (call) => {
        const { program } = checkJoinToken(store, call.body.token, clock)
        const { certificate, serial } = await registry.authority.issue(program, call.body.publicKey)
        const { revision } = store.write({ who: program, what: 'join' }, (transaction) =>
          enroll(transaction, call.body.token, serial, call.body, registry),
        )
        await registry.publisher.introduced(revision)
        return { identity: program, certificate, ca: registry.authority.pem }
      },
    }),
  ]
}

function insightRoutes(registry: Registry): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/audit',
      access: 'operator',
      summary: 'Who changed what, oldest first',
      query: auditQuery,
      answer: listOf(auditAnswer),
      handle: (call) => registry.store.audit(call.query.after, call.query.limit),
    }),
    route({
      method: 'GET',
      path: '/v1/status',
      access: 'operator',
      summary: 'Programs that joined, and how far each has come',
      answer: statusAnswer,
      handle: () => statusDocument(registry),
    }),
    route({
      method: 'GET',
      path: '/v1/live',
      access: 'operator',
      summary: 'What every connected proxy and agent says of itself at this moment',
      answer: liveAnswer,
      handle: () => liveDocument(registry),
    }),
    route({
      method: 'GET',
      path: '/v1/latency',
      access: 'operator',
      summary: "From every connected proxy to every node: what the proxies' probes measured lately",
      answer: latencyAnswer,
      handle: () => latencyDocument(registry),
    }),
    route({
      method: 'GET',
      path: '/v1/regions',
      access: 'token',
      summary: 'List the regions where databases can be',
      answer: listOf(regionAnswer),
      handle: () => regionsDocument(registry),
    }),
    route({
      method: 'GET',
      path: '/v1/explain',
      access: 'operator',
      summary: 'Which node a connection would take, and why',
      query: explainQuery,
      answer: explainAnswer,
      handle: async (call) => {
        const report = explainAnswer.safeParse(await explain(registry, call.query))
        if (report.success) return report.data
        throw new NearcastError('feed.ask-failed', 'The proxy explained it in a form that this router does not know; upgrade the older of the two.', { side: 'upstream' })
      },
    }),
  ]
}
