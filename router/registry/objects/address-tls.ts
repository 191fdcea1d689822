/** Who does TLS for an address: what may be asked for, and setting it. Proxies act on it from the next connection on. */
import { X509Certificate } from 'node:crypto'
import { NearcastError } from '../../../lib/errors.ts'
import type { AddressTls } from '../../../lib/feed/messages.ts'
import type { AddressRecord, ServiceRecord } from '../store/records.ts'
import type { StoreTransaction } from '../store/store.ts'

export interface TlsRequest {
  readonly policy: 'off' | AddressTls['policy']
  readonly alpn?: string[] | undefined
  readonly clientCa?: string | undefined
}

/** Without a request nothing changes. @throws NearcastError tls.unsuitable, tls.client-ca-invalid */
export function setAddressTls(transaction: StoreTransaction, { address }: Pick<AddressRecord, 'address'>, request: TlsRequest | undefined): void {
  const record = transaction.get('addresses', address)
  const service = record && transaction.get('services', record.service)
  if (!request || !record || !service) return
  transaction.put('addresses', { ...record, tls: checked(service, request) })
}

function checked(service: ServiceRecord, { policy, alpn, clientCa }: TlsRequest): AddressTls | null {
  if (policy === 'off') {
    if (alpn !== undefined || clientCa !== undefined) throw unsuitable('Without TLS there are neither protocols nor client certificates; leave alpn and clientCa out.')
    return null
  }
  if (service.kind === 'postgres') throw unsuitable('The TLS of PostgreSQL starts inside its protocol, between client and server; use policy off.')
  if (policy === 'passthrough' && service.kind === 'redis') throw unsuitable("A database's engine doesn't speak TLS; use policy terminate or auto.")
  if (policy === 'passthrough' && alpn !== undefined) throw unsuitable('With passthrough the server agrees upon protocols; leave alpn out.')
  if (policy !== 'terminate' && clientCa !== undefined) throw unsuitable('Client certificates need policy terminate: with auto a client without TLS would pass without one.')
  if (clientCa !== undefined) checkCa(clientCa)
  return { policy, ...(alpn !== undefined && { alpn }), ...(clientCa !== undefined && { clientCa }) }
}

function checkCa(pem: string): void {
  try {
    if (new X509Certificate(pem).ca) return
  } catch (cause) {
    throw invalidCa(cause)
  }
  throw invalidCa(undefined)
}

function invalidCa(cause: unknown): NearcastError {
  return new NearcastError('tls.client-ca-invalid', 'clientCa must be the certificate of a CA, as PEM.', { side: 'client', cause })
}

function unsuitable(why: string): NearcastError {
  return new NearcastError('tls.unsuitable', why, { side: 'client' })
}
