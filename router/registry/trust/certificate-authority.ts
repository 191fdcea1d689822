/**
 * The router's own CA (ECDSA P-256): it names programs, not hosts. A certificate's only name is the SAN URI
 * nearcast://<kind>/<id>; the router's carries its addresses too, for API clients that check host names.
 *
 * Certificates last ten years: nothing stops working because a router was away (fail static). Revocation is by serial:
 * the registry knows the one serial that counts for each identity.
 */
import { createHash } from 'node:crypto'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { Issuer, newKeyPem } from '../../../lib/certificate.ts'
import type { CertificateName, IssuedCertificate } from '../../../lib/certificate.ts'
import { NearcastError } from '../../../lib/errors.ts'
import { keyFile } from './key-file.ts'

export interface ServerCertificate {
  readonly certificate: string
  readonly key: string
}

export class CertificateAuthority {
  readonly #issuer: Issuer

  private constructor(issuer: Issuer) {
    this.#issuer = issuer
  }

  /** Reads ca.key and ca.pem in `directory`, or makes them. */
  static async open(directory: string): Promise<CertificateAuthority> {
    const fresh = await newKeyPem()
    const key = keyFile(join(directory, 'ca.key'), () => fresh)
    const made = await Issuer.create('nearcast', key)
    const issuer = await Issuer.read(keyFile(join(directory, 'ca.pem'), () => made.pem.trimEnd()), key)
    if (issuer !== null) return new CertificateAuthority(issuer)
    throw new NearcastError('config.invalid', `ca.pem and ca.key in ${directory} don't belong together; restore both from a copy.`)
  }

  get pem(): string {
    return this.#issuer.pem
  }

  /** SHA-256 of the certificate's DER, hexadecimal: what a join token carries. */
  get fingerprint(): string {
    return createHash('sha256').update(this.#issuer.der).digest('hex')
  }

  /** `publicKey`: SPKI PEM of the program, P-256. @throws NearcastError api.body-invalid */
  async issue(identity: string, publicKey: string): Promise<IssuedCertificate> {
    try {
      return await this.#issuer.issue({ commonName: identity, names: [program(identity)], publicKey })
    } catch (error) {
      throw new NearcastError('api.body-invalid', 'publicKey: must be an ECDSA P-256 key as SPKI PEM.', { side: 'client', cause: error })
    }
  }

  /** The router's own, made anew at every start; its key is never on disk. */
  async issueServer(identity: string, addresses: readonly string[]): Promise<ServerCertificate> {
    const names = addresses.map((value): CertificateName => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }))
    const { certificate, key } = await this.#issuer.issueWithKey({ commonName: identity, names: [program(identity), ...names] })
    // With the CA's own certificate behind it: a joining program compares that one with its token.
    return { certificate: `${certificate}${this.pem}`, key }
  }
}

function program(identity: string): CertificateName {
  return { type: 'url', value: `nearcast://${identity}` }
}
