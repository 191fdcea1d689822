/**
 * The proxy as a TLS server: joins certificates, the addresses' policies and the keys of session tickets to what a plane
 * takes (TlsServer). One object per certificate and policy, kept as long as both are in force.
 *
 * Ticket keys are random, shared by all listeners of the process and replaced at an interval: an older ticket costs its
 * client a full handshake, nothing else. A session proves a client certificate only to addresses that ask for the same CA.
 */
import { createHash, randomBytes } from 'node:crypto'
import type { AddressTls } from '../../lib/feed/messages.ts'
import type { TlsServer } from '../../lib/plane/plane.ts'
import type { Certificate } from './certificates.ts'
import { Certificates } from './certificates.ts'

const TICKET_KEY_BYTES = 48
/** Host names of services are `<name>.flycast`. */
const TOP_LEVEL = '.flycast'
/** Combinations of certificate, client CA and protocols that are kept ready; tenants choose the latter two. */
const MAX_SERVERS = 1000

export class Termination {
  #certificates = new Certificates([])
  #ticketKeys: Uint8Array = randomBytes(TICKET_KEY_BYTES)
  readonly #servers = new Map<string, TlsServer>()

  get certificates(): readonly Certificate[] {
    return this.#certificates.all
  }

  /** New handshakes use it; those under way go on with what they have begun with. */
  use(certificates: Certificates): void {
    this.#certificates = certificates
    this.#servers.clear()
  }

  get ticketKeys(): Uint8Array {
    return this.#ticketKeys
  }

  /** Default: new ones. */
  rotateTicketKeys(keys: Uint8Array = randomBytes(TICKET_KEY_BYTES)): void {
    this.#ticketKeys = keys
    this.#servers.clear()
  }

  /**
   * Clients that name no server check the certificate all the same, against the name that they were told to connect to:
   * the service's. Without a certificate for that they get the first.
   */
  server(tls: AddressTls, serverName: string | null, service: string | null): TlsServer | 'unknown-name' | 'no-certificate' {
    const { first } = this.#certificates
    if (first === null) return 'no-certificate'
    const certificate = serverName === null ? ((service !== null && this.#certificates.find(`${service}${TOP_LEVEL}`)) || first) : this.#certificates.find(serverName)
    if (certificate === null) return 'unknown-name'
    const key = JSON.stringify([this.#certificates.all.indexOf(certificate), tls.clientCa, tls.alpn])
    const known = this.#servers.get(key)
    if (known) return known
    const made = this.#make(certificate, tls)
    const [oldest] = this.#servers.keys()
    if (this.#servers.size >= MAX_SERVERS && oldest !== undefined) this.#servers.delete(oldest)
    this.#servers.set(key, made)
    return made
  }

  #make({ certificate, key }: Certificate, { clientCa, alpn }: AddressTls): TlsServer {
    return {
      certificate,
      key,
      ticketKeys: this.#ticketKeys,
      sessionContext: createHash('sha256').update(clientCa ?? '').digest('hex').slice(0, 32),
      ...(clientCa !== undefined && { clientCa }),
      ...(alpn !== undefined && { alpn }),
    }
  }
}
