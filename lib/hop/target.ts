/**
 * Where to dial a node: its Unix socket from the same host, mutual TLS from elsewhere, plain TCP for foreign nodes
 * (which must limit by themselves whom they accept). Pure.
 */
import { NearcastError } from '../errors.ts'
import type { NodeRow } from '../feed/messages.ts'
import type { DialTarget, HopTls } from '../plane/plane.ts'

/** `host`: the dialer's own host. @throws NearcastError node.endpoint-invalid */
export function dialTarget(node: NodeRow, host: string, tls: HopTls): DialTarget {
  const signed = node.hop === 'signed-v2'
  if (signed && node.socket !== undefined && node.host === host) return { kind: 'unix', path: node.socket }
  const endpoint = parseEndpoint(node.endpoint)
  if (!signed) return { kind: 'tcp', ...endpoint }
  const { ca, certificate, key } = tls
  return { kind: 'tcp', ...endpoint, tls: { ca, certificate, key, identity: agentIdentity(node.id) } }
}

/** The URI in the certificate of a node's agent. */
export function agentIdentity(nodeId: string): string {
  return `nearcast://agent/${nodeId}`
}

/** `host:port` or `[v6]:port`. @throws NearcastError node.endpoint-invalid */
export function parseEndpoint(endpoint: string): { host: string; port: number } {
  const [, bracketed, plain, digits = ''] = /^(?:\[([^[\]]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(endpoint) ?? []
  const host = bracketed ?? plain
  const port = Number(digits)
  if (host === undefined || port < 1 || port > 0xffff) {
    throw new NearcastError('node.endpoint-invalid', `"${endpoint.slice(0, 64)}" is not host:port; write IPv6 as [address]:port.`, { side: 'client' })
  }
  return { host, port }
}
