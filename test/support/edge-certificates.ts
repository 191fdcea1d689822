/** A throw-away CA with server and client certificates by name. Node and OpenSSL judge them. PEM; the files go with `directory`. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Issuer } from '../../lib/certificate.ts'

export interface EdgeCertificate {
  readonly certificate: string
  readonly key: string
  readonly certificateFile: string
  readonly keyFile: string
}

export class EdgeCa {
  readonly pem: string
  readonly file: string
  readonly #issuer: Issuer
  readonly #path: (suffix: string) => string
  #count = 0

  private constructor(issuer: Issuer, path: (suffix: string) => string) {
    this.#issuer = issuer
    this.#path = path
    this.pem = issuer.pem
    this.file = path('.pem')
    writeFileSync(this.file, this.pem)
  }

  static async create(directory: string, name = 'edge-ca'): Promise<EdgeCa> {
    return new EdgeCa(await Issuer.create(name), (suffix) => join(directory, `${name}${suffix}`))
  }

  /** `names`: DNS names; the first is the common name, too. `expired`: since yesterday. */
  async issue(names: readonly string[], { expired = false } = {}): Promise<EdgeCertificate> {
    const validity = { notBefore: daysFromNow(-3), notAfter: daysFromNow(expired ? -1 : 2) }
    const dns = names.map((value) => ({ type: 'dns' as const, value }))
    const { certificate, key } = await this.#issuer.issueWithKey({ commonName: names[0] ?? 'nobody', names: dns, ...validity })
    const [certificateFile, keyFile] = [this.#path(`-${++this.#count}.crt`), this.#path(`-${this.#count}.key`)]
    writeFileSync(certificateFile, certificate)
    writeFileSync(keyFile, key)
    return { certificate, key, certificateFile, keyFile }
  }
}

function daysFromNow(days: number): Date {
  return new Date(Date.now() + days * 86_400_000)
}
