/** Routes of the operator: orgs, nodes, proxies, tokens, keys, audit, status, explain; and the join of programs. */
import { NearcastError } from '../../../lib/errors.ts'
import { explain } from '../explain.ts'
import { addJoinToken, checkJoinToken, enroll, removeProxy } from '../objects/members.ts'
import { addForeignNode, findNode, removeNode } from '../objects/nodes.ts'
import { createOrg } from '../objects/orgs.ts'
import { createToken, removeToken } from '../objects/tokens.ts'
import type { Registry } from '../registry.ts'
import { newJoinToken } from '../trust/secret-token.ts'
import { nodeDocument, orgDocument, tokenDocument } from './documents.ts'
import type { Route } from './route.ts'
import { get, post, remove } from './route.ts'
import { emptyBody, joinBody, joinTokenBody, nodeBody, orgBody, tokenBody } from './schemas.ts'
import { proxiesDocument, statusDocument } from './status.ts'

export function operatorRoutes(registry: Registry): Route[] {
  const { store, clock, rotation } = registry
  return [
    get('/v1/orgs', 'token', (call) =>
      store
        .list('orgs')
        .filter((org) => call.memberOf === undefined || call.memberOf === org.id)
        .map((org) => orgDocument(registry, org)),
    ),
    post('/v1/orgs', 'operator', orgBody, (call) => {
      const { result } = store.write(call.act('org.create'), (transaction) => createOrg(transaction, call.body.name, clock))
      return orgDocument(registry, result.org)
    }),

    get('/v1/nodes', 'operator', () => store.list('nodes').map((node) => nodeDocument(registry, node))),
    get('/v1/nodes/:id', 'operator', (call) => nodeDocument(registry, findNode(store, call.params['id'] ?? ''))),
    post('/v1/nodes', 'operator', nodeBody, (call) => {
      const node = { ...call.body, host: call.body.host ?? `foreign/${call.body.id}` }
      const { result } = store.write(call.act('node.create'), (transaction) => addForeignNode(transaction, node, clock))
      return nodeDocument(registry, result)
    }),
    remove('/v1/nodes/:id', 'operator', (call) => {
      const id = call.params['id'] ?? ''
      store.write(call.act('node.delete'), (transaction) => removeNode(transaction, id))
      rotation.advance()
      return { id, deleted: true }
    }),

    get('/v1/proxies', 'operator', () => proxiesDocument(registry)),
    remove('/v1/proxies/:id', 'operator', (call) => {
      const id = call.params['id'] ?? ''
      store.write(call.act('proxy.delete'), (transaction) => removeProxy(transaction, id))
      rotation.advance()
      return { id, deleted: true }
    }),

    get('/v1/tokens', 'operator', () => store.list('tokens').map(tokenDocument)),
    post('/v1/tokens', 'operator', tokenBody, (call) => {
      const { result } = store.write(call.act('token.create'), (transaction) => createToken(transaction, call.body, clock))
      return { ...tokenDocument(result.record), token: result.token }
    }),
    remove('/v1/tokens/:id', 'operator', (call) => {
      const id = call.params['id'] ?? ''
      store.write(call.act('token.delete'), (transaction) => removeToken(transaction, id))
      return { id, deleted: true }
    }),

    post('/v1/join-tokens', 'operator', joinTokenBody, (call) => {
      const token = newJoinToken(registry.authority.fingerprint)
      const { result } = store.write(call.act('join-token.create'), (transaction) => addJoinToken(transaction, token, call.body, clock))
      return { token, expiresAt: result.expiresAt }
    }),
    post('/v1/join', 'join', joinBody, async (call) => {
      const { program } = checkJoinToken(store, call.body.token, clock)
      const { certificate, serial } = await registry.authority.issue(program, call.body.publicKey)
      const { revision } = store.write({ who: program, what: 'join' }, (transaction) =>
        enroll(transaction, call.body.token, serial, call.body, clock),
      )
      await registry.publisher.introduced(revision)
      return { identity: program, certificate, ca: registry.authority.pem }
    }),

    post('/v1/hop-keys/rotate', 'operator', emptyBody, (call) => rotation.rotate(call.act('hop-keys.rotate'))),
    get('/v1/audit', 'operator', (call) => store.audit(wholeNumber(call.query, 'after', 0, Number.MAX_SAFE_INTEGER), wholeNumber(call.query, 'limit', 100, 1000))),
    get('/v1/status', 'operator', () => statusDocument(registry)),
    get('/v1/explain', 'operator', (call) => explain(registry, call.query)),
  ]
}

function wholeNumber(query: Readonly<Record<string, string>>, key: string, fallback: number, most: number): number {
  const text = query[key]
  if (text === undefined) return fallback
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (value <= most) return value
  throw new NearcastError('api.body-invalid', `${key}: a whole number from 0 to ${most}.`, { side: 'client' })
}
