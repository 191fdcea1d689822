/**
 * Certificates from files, read again when the files change (a watch on their directories) or when told to (SIGHUP).
 *
 * The new set is built and checked first; when anything in it is wrong the old one stays in force, with a log line that
 * names the file, and the fault is shown until it is mended. Nothing here is asked during a handshake.
 */
import { readFileSync, readdirSync, watch } from 'node:fs'
import type { FSWatcher } from 'node:fs'
import { dirname, join } from 'node:path'
import { NearcastError, asNearcastError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { Certificates } from './certificates.ts'
import type { CertificateText } from './certificates.ts'

export interface CertificateFilesOptions {
  readonly certificates: readonly { readonly certificate: string; readonly key: string }[]
  /** Every `<name>.pem` or `<name>.crt` in it that has a `<name>.key` beside it. */
  readonly directory?: string
  readonly log: Logger
  /** Called with each new set, the first one included. */
  readonly changed: (certificates: Certificates) => void
}

/** Files of a pair are written one after the other: both are waited for. */
const SETTLE_MS = 200

export class CertificateFiles {
  readonly #options: CertificateFilesOptions
  readonly #watchers: FSWatcher[] = []
  #settling: NodeJS.Timeout | undefined
  #inForce = ''
  #fault: NearcastError | null = null
  readonly reloads = { succeeded: 0, failed: 0 }

  constructor(options: CertificateFilesOptions) {
    this.#options = options
  }

  /** Why what is in the files isn't in force; null when it is. */
  get fault(): NearcastError | null {
    return this.#fault
  }

  /** Reads once and watches from then on. Never throws: a proxy without certificates still carries what isn't TLS. */
  start(): void {
    const { certificates, directory, log } = this.#options
    const directories = new Set([...certificates.flatMap((pair) => [dirname(pair.certificate), dirname(pair.key)]), ...(directory === undefined ? [] : [directory])])
    for (const each of directories) {
      try {
        const watcher = watch(each, { persistent: false }, () => this.#soon())
        watcher.on('error', (error) => log.warn({ directory: each, error: error.message }, 'certificates not watched any more; use SIGHUP'))
        this.#watchers.push(watcher)
      } catch (error) {
        log.warn({ directory: each, error: asNearcastError(error).message }, 'certificates not watched; use SIGHUP')
      }
    }
    this.reload()
  }

  /** Unchanged files change nothing: sessions of clients stay good. */
  reload(): void {
    clearTimeout(this.#settling)
    const { log, changed } = this.#options
    try {
      const texts = this.#read()
      const content = JSON.stringify(texts)
      if (content !== this.#inForce) {
        const certificates = new Certificates(texts)
        this.#inForce = content
        this.reloads.succeeded++
        changed(certificates)
        log.info({ names: certificates.all.flatMap(({ names }) => names).slice(0, 50) }, 'certificates in force')
      }
      this.#fault = null
    } catch (error) {
      this.#fault = asNearcastError(error)
      this.reloads.failed++
      log.error({ code: this.#fault.code }, `${this.#fault.message} What was in force before stays.`)
    }
  }

  close(): void {
    clearTimeout(this.#settling)
    for (const watcher of this.#watchers.splice(0)) watcher.close()
  }

  #soon(): void {
    clearTimeout(this.#settling)
    this.#settling = setTimeout(() => this.reload(), SETTLE_MS).unref()
  }

  #read(): CertificateText[] {
    const { certificates, directory } = this.#options
    const named = certificates.map(({ certificate, key }) => ({ file: certificate, certificate: text(certificate), key: text(key) }))
    return directory === undefined ? named : [...named, ...inDirectory(directory)]
  }
}

function inDirectory(directory: string): CertificateText[] {
  let files: string[]
  try {
    files = readdirSync(directory).toSorted()
  } catch (error) {
    throw unreadable(directory, error)
  }
  return files.flatMap((name) => {
    const stem = /^(.+)\.(?:pem|crt)$/.exec(name)?.[1]
    if (stem === undefined || !files.includes(`${stem}.key`)) return []
    const file = join(directory, name)
    return [{ file, certificate: text(file), key: text(join(directory, `${stem}.key`)) }]
  })
}

function text(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw unreadable(file, error)
  }
}

function unreadable(file: string, error: unknown): NearcastError {
  return new NearcastError('tls.certificate-unreadable', `${file} can't be read (${asNearcastError(error).message}).`, { cause: error })
}
