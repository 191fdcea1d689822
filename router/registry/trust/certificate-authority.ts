/**
 * The router's own CA (ECDSA P-256): it names programs, not hosts. A certificate's only name is the SAN URI
 * nearcast://<kind>/<id>; the router's carries its addresses too, for API clients that check host names.
 *
 * Certificates last ten years: nothing stops working because a router was away (fail static). Revocation is by serial:
 * the registry knows the one serial that counts for each identity. The only importer of @peculiar/x509.
 */
// @peculiar/x509 finds its algorithms through a container that wants this loaded first.
// oxlint-disable-next-line import/no-unassigned-import
import 'reflect-metadata'
import { createHash, createPublicKey, randomBytes, webcrypto } from 'node:crypto'
import { isIP } from 'node:net'
import { join } from 'node:path'
import type { JsonGeneralName } from '@peculiar/x509'
import {
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509'
import { NearcastError } from '../../../lib/errors.ts'
import { keyFile } from './key-file.ts'

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const YEAR_MS = 365.25 * 24 * 3600 * 1000
/** Clocks of hosts are minutes off; a day is generous. */
const CLOCK_SLACK_MS = 24 * 3600 * 1000

export interface IssuedCertificate {
  readonly certificate: string
  /** Hexadecimal, upper case, as the TLS layer shows it. */
  readonly serial: string
}

export interface ServerCertificate {
  readonly certificate: string
  readonly key: string
}

export class CertificateAuthority {
  readonly #certificate: X509Certificate
  readonly #key: webcrypto.CryptoKey

  private constructor(certificate: X509Certificate, key: webcrypto.CryptoKey) {
    this.#certificate = certificate
    this.#key = key
  }

  /** Reads ca.key and ca.pem in `directory`, or makes them. */
  static async open(directory: string): Promise<CertificateAuthority> {
    cryptoProvider.set(webcrypto as never)
    const made = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
    const fresh = PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', made.privateKey), 'PRIVATE KEY')
    const keyPem = keyFile(join(directory, 'ca.key'), () => fresh)
    const keys = await importPair(keyPem)
    const certificate = await selfSigned(keys)
    const pem = keyFile(join(directory, 'ca.pem'), () => certificate.toString('pem'))
    const stored = new X509Certificate(pem)
    if (!(await stored.verify({ publicKey: keys.publicKey }))) {
      throw new NearcastError('config.invalid', `ca.pem and ca.key in ${directory} don't belong together; restore both from a copy.`)
    }
    return new CertificateAuthority(stored, keys.privateKey)
  }

  get pem(): string {
    return `${this.#certificate.toString('pem')}\n`
  }

  /** SHA-256 of the certificate's DER, hexadecimal: what a join token carries. */
  get fingerprint(): string {
    return createHash('sha256').update(Buffer.from(this.#certificate.rawData)).digest('hex')
  }

  /** `publicKey`: SPKI PEM of the program, P-256. @throws NearcastError api.body-invalid */
  async issue(identity: string, publicKey: string): Promise<IssuedCertificate> {
    return this.#issue(identity, await importPublic(publicKey), [])
  }

  /** The router's own, made anew at every start; its key is never on disk. */
  async issueServer(identity: string, addresses: readonly string[]): Promise<ServerCertificate> {
    const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
    const names = addresses.map((value): JsonGeneralName => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }))
    const { certificate } = await this.#issue(identity, keys.publicKey, names)
    const key = PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY')
    // With the CA's own certificate behind it: a joining program compares that one with its token.
    return { certificate: `${certificate}${this.pem}`, key }
  }

  async #issue(identity: string, publicKey: webcrypto.CryptoKey, names: JsonGeneralName[]): Promise<IssuedCertificate> {
    const serial = positiveSerial()
    const certificate = await X509CertificateGenerator.create({
      serialNumber: serial,
      subject: [{ CN: [identity] }],
      issuer: this.#certificate.subject,
      ...validity(10),
      publicKey,
      signingKey: this.#key,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
        new SubjectAlternativeNameExtension([{ type: 'url', value: `nearcast://${identity}` }, ...names]),
      ],
    })
    return { certificate: `${certificate.toString('pem')}\n`, serial: serial.toUpperCase() }
  }
}

async function importPair(pem: string): Promise<webcrypto.CryptoKeyPair> {
  const der = PemConverter.decodeFirst(pem)
  const privateKey = await webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, true, ['sign'])
  const publicPem = createPublicKey(pem).export({ type: 'spki', format: 'pem' })
  return { privateKey, publicKey: await importPublic(publicPem) }
}

async function importPublic(pem: string): Promise<webcrypto.CryptoKey> {
  try {
    return await webcrypto.subtle.importKey('spki', PemConverter.decodeFirst(pem), ALGORITHM, true, ['verify'])
  } catch (error) {
    throw new NearcastError('api.body-invalid', 'publicKey: must be an ECDSA P-256 key as SPKI PEM.', { side: 'client', cause: error })
  }
}

function selfSigned(keys: webcrypto.CryptoKeyPair): Promise<X509Certificate> {
  return X509CertificateGenerator.createSelfSigned({
    serialNumber: positiveSerial(),
    name: [{ CN: ['nearcast'] }],
    ...validity(30),
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [new BasicConstraintsExtension(true, 0, true), new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true)],
  })
}

function validity(years: number): { notBefore: Date; notAfter: Date } {
  const now = Date.now()
  return { notBefore: new Date(now - CLOCK_SLACK_MS), notAfter: new Date(now + years * YEAR_MS) }
}

/** 128 bits whose first byte is 40..7f: positive and without a leading zero, so that every layer spells it alike. */
function positiveSerial(): string {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40
  return bytes.toString('hex')
}
