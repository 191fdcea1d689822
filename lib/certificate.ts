/**
 * Making X.509 certificates (ECDSA P-256), which Node can read but not make: one issuer and what it signs.
 *
 * Used by the router's CA, which names programs, and by the cluster for development, whose certificates name hosts.
 * Keeps nothing: files, revocation and who may ask are the callers'. The only importer of @peculiar/x509.
 */
// @peculiar/x509 finds its algorithms through a container that wants this loaded first.
// oxlint-disable-next-line import/no-unassigned-import
import 'reflect-metadata'
import { createPublicKey, randomBytes, webcrypto } from 'node:crypto'
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

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const YEAR_MS = 365.25 * 24 * 3600 * 1000
/** Clocks of hosts are minutes off; a day is generous. */
const CLOCK_SLACK_MS = 24 * 3600 * 1000

cryptoProvider.set(webcrypto as never)

export interface CertificateName {
  readonly type: 'dns' | 'ip' | 'url'
  readonly value: string
}

export interface IssueOptions {
  readonly commonName: string
  readonly names: readonly CertificateName[]
  /** SPKI PEM of whoever holds the private key; without it a key is made. */
  readonly publicKey?: string
  readonly notBefore?: Date
  readonly notAfter?: Date
}

export interface IssuedCertificate {
  /** PEM, a line end behind it. */
  readonly certificate: string
  /** Hexadecimal, upper case, as the TLS layer shows it. */
  readonly serial: string
}

export interface KeyedCertificate extends IssuedCertificate {
  /** PKCS #8 PEM. */
  readonly key: string
}

export class Issuer {
  readonly #certificate: X509Certificate
  readonly #key: webcrypto.CryptoKey
  /** PKCS #8 PEM. */
  readonly keyPem: string

  private constructor(certificate: X509Certificate, key: webcrypto.CryptoKey, keyPem: string) {
    this.#certificate = certificate
    this.#key = key
    this.keyPem = keyPem
  }

  /** A new one, with a key of its own or a given one (PKCS #8 PEM). */
  static async create(commonName: string, keyPem?: string): Promise<Issuer> {
    const pem = keyPem ?? (await newKey()).pem
    const keys = await importPair(pem)
    const certificate = await X509CertificateGenerator.createSelfSigned({
      serialNumber: positiveSerial(),
      name: [{ CN: [commonName] }],
      notBefore: new Date(Date.now() - CLOCK_SLACK_MS),
      notAfter: new Date(Date.now() + 30 * YEAR_MS),
      keys,
      signingAlgorithm: ALGORITHM,
      extensions: [new BasicConstraintsExtension(true, 0, true), new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true)],
    })
    return new Issuer(certificate, keys.privateKey, pem)
  }

  /** @returns null when the certificate isn't that key's. */
  static async read(certificatePem: string, keyPem: string): Promise<Issuer | null> {
    const keys = await importPair(keyPem)
    const certificate = new X509Certificate(certificatePem)
    return (await certificate.verify({ publicKey: keys.publicKey })) ? new Issuer(certificate, keys.privateKey, keyPem) : null
  }

  /** PEM, a line end behind it. */
  get pem(): string {
    return `${this.#certificate.toString('pem')}\n`
  }

  get der(): Uint8Array {
    return new Uint8Array(this.#certificate.rawData)
  }

  /** For ten years unless told. @throws an Error when `publicKey` is no ECDSA P-256 key. */
  async issue(options: IssueOptions & { readonly publicKey: string }): Promise<IssuedCertificate> {
    return await this.#issue(options, await importPublic(options.publicKey))
  }

  /** With a key made for it. */
  async issueWithKey(options: IssueOptions): Promise<KeyedCertificate> {
    const { publicKey, pem } = await newKey()
    return { ...(await this.#issue(options, publicKey)), key: pem }
  }

  async #issue({ commonName, names, notBefore, notAfter }: IssueOptions, publicKey: webcrypto.CryptoKey): Promise<IssuedCertificate> {
    const serial = positiveSerial()
    const certificate = await X509CertificateGenerator.create({
      serialNumber: serial,
      subject: [{ CN: [commonName] }],
      issuer: this.#certificate.subject,
      notBefore: notBefore ?? new Date(Date.now() - CLOCK_SLACK_MS),
      notAfter: notAfter ?? new Date(Date.now() + 10 * YEAR_MS),
      publicKey,
      signingKey: this.#key,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
        new SubjectAlternativeNameExtension([...names]),
      ],
    })
    return { certificate: `${certificate.toString('pem')}\n`, serial: serial.toUpperCase() }
  }
}

/** PKCS #8 PEM of a new key. */
export async function newKeyPem(): Promise<string> {
  return (await newKey()).pem
}

async function newKey(): Promise<{ readonly publicKey: webcrypto.CryptoKey; readonly pem: string }> {
  const { publicKey, privateKey } = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
  return { publicKey, pem: PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', privateKey), 'PRIVATE KEY') }
}

async function importPair(pem: string): Promise<webcrypto.CryptoKeyPair> {
  const privateKey = await webcrypto.subtle.importKey('pkcs8', PemConverter.decodeFirst(pem), ALGORITHM, true, ['sign'])
  const publicPem = createPublicKey(pem).export({ type: 'spki', format: 'pem' })
  return { privateKey, publicKey: await importPublic(publicPem) }
}

async function importPublic(pem: string): Promise<webcrypto.CryptoKey> {
  return await webcrypto.subtle.importKey('spki', PemConverter.decodeFirst(pem), ALGORITHM, true, ['verify'])
}

/** 128 bits whose first byte is 40..7f: positive and without a leading zero, so that every layer spells it alike. */
function positiveSerial(): string {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40
  return bytes.toString('hex')
}
