/**
 * Which certificate serves a name. One immutable set is built and checked whole from what the files say, then swapped in;
 * a set that doesn't hold together is never in force.
 *
 * Names come from the certificates' subjectAltName alone: exact ones, and `*.` for one label. The first certificate is
 * for clients that name nobody. An expired one is kept (its clients decide) and can be told from `expiresAtMs`.
 */
import { X509Certificate, createPrivateKey } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import { NearcastError } from '../../lib/errors.ts'

export interface CertificateText {
  /** Where it was read, for messages. */
  readonly file: string
  /** PEM: the chain, leaf first, and its key. */
  readonly certificate: string
  readonly key: string
}

export interface Certificate extends CertificateText {
  /** Lower case; DNS names only. */
  readonly names: readonly string[]
  readonly expiresAtMs: number
}

export class Certificates {
  readonly all: readonly Certificate[]
  readonly #exact = new Map<string, Certificate>()
  /** `*.example.com` by `example.com`. */
  readonly #wildcard = new Map<string, Certificate>()

  /** @throws NearcastError tls.certificate-invalid with the file that is wrong */
  constructor(texts: readonly CertificateText[]) {
    this.all = texts.map(read)
    for (const certificate of this.all) {
      for (const name of certificate.names) {
        const [map, key] = name.startsWith('*.') ? [this.#wildcard, name.slice(2)] : [this.#exact, name]
        // Of two for one name the one that lasts longer: a renewed file beside the old one.
        if ((map.get(key)?.expiresAtMs ?? -1) < certificate.expiresAtMs) map.set(key, certificate)
      }
    }
  }

  /** `name` in lower case. null: there is none for it. */
  find(name: string): Certificate | null {
    const exact = this.#exact.get(name)
    if (exact) return exact
    const dot = name.indexOf('.')
    return (dot > 0 && this.#wildcard.get(name.slice(dot + 1))) || null
  }

  get first(): Certificate | null {
    return this.all[0] ?? null
  }
}

function read(text: CertificateText): Certificate {
  const { file, certificate, key } = text
  try {
    const leaf = new X509Certificate(certificate)
    const names = dnsNames(leaf.subjectAltName)
    if (names.length === 0) throw new Error('it has no DNS name in subjectAltName')
    if (!leaf.checkPrivateKey(createPrivateKey(key))) throw new Error("the key isn't the certificate's")
    // What OpenSSL refuses (a weak key, a broken chain) shows here and not in a client's handshake.
    createSecureContext({ cert: certificate, key })
    return { ...text, names, expiresAtMs: leaf.validToDate.getTime() }
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new NearcastError('tls.certificate-invalid', `${file} can't be used: ${why}.`, { cause })
  }
}

/** `DNS:a.example, DNS:*.b.example, IP Address:…`. Node quotes what could be mistaken; such names are no DNS names. */
function dnsNames(subjectAltName: string | undefined): string[] {
  const parts = (subjectAltName ?? '').split(', ').filter((part) => part.startsWith('DNS:') && !part.includes('"'))
  return parts.map((part) => part.slice('DNS:'.length).toLowerCase())
}
