/**
 * The certificates of a development cluster's proxies, from a CA that lives as long as the cluster: `*.flycast` for whoever
 * names no server or doesn't mind, and one for each name that app hosts know. Strict clients (Node, curl) take no wildcard
 * directly under a top-level name. Keys exist inside the cluster's own file system in memory only.
 */
import { Issuer } from '../../lib/certificate.ts'
import { EDGE_CA, TLS_DIRECTORY } from './programs.ts'
import type { World } from './world.ts'

/** First in the directory, so it serves clients that name nobody. */
const DEFAULT_STEM = '0-default'
const TAKEN_UP_TIMEOUT_MS = 3000

export class EdgeCertificates {
  readonly #world: World
  readonly #issuer: Issuer
  readonly #adminSockets: () => readonly string[]
  readonly #known = new Set<string>()
  #queue: Promise<void> = Promise.resolve()

  private constructor(world: World, issuer: Issuer, adminSockets: () => readonly string[]) {
    this.#world = world
    this.#issuer = issuer
    this.#adminSockets = adminSockets
  }

  /** Before the proxies start. `adminSockets`: those of the proxies. */
  static async create(world: World, adminSockets: () => readonly string[]): Promise<EdgeCertificates> {
    const edge = new EdgeCertificates(world, await Issuer.create('nearcast dev'), adminSockets)
    await edge.#write(DEFAULT_STEM, '*.flycast')
    await world.call('write', { files: [{ path: EDGE_CA, text: edge.ca }] })
    return edge
  }

  /** PEM of the CA, for app hosts. */
  get ca(): string {
    return this.#issuer.pem
  }

  /** For the WebSocket of a gateway. */
  gateway(address: string): Promise<{ readonly certificate: string; readonly key: string }> {
    return this.#issuer.issueWithKey({ commonName: 'gateway', names: [{ type: 'ip', value: address }] })
  }

  /** Resolves when the proxies that run have certificates for all of `names`, or after a while without. */
  certify(names: readonly string[]): Promise<void> {
    const step = this.#queue.then(() => this.#certify(names))
    this.#queue = step.catch(() => undefined)
    return step
  }

  async #certify(names: readonly string[]): Promise<void> {
    const missing = names.map((name) => `${name}.flycast`).filter((name) => !this.#known.has(name))
    if (missing.length === 0) return
    for (const name of missing) {
      await this.#write(name, name)
      this.#known.add(name)
    }
    // A proxy that is stopped or paused takes them up when it is back.
    const texts = missing.map((name) => `tls_certificate_expiry_seconds{name="${name}"}`)
    await Promise.all(this.#adminSockets().map((socket) => this.#world.call('shows', { socket, texts, timeoutMs: TAKEN_UP_TIMEOUT_MS })))
  }

  async #write(stem: string, name: string): Promise<void> {
    const { certificate, key } = await this.#issuer.issueWithKey({ commonName: name, names: [{ type: 'dns', value: name }] })
    const path = `${TLS_DIRECTORY}/${stem}`
    await this.#world.call('write', { files: [{ path: `${path}.key`, text: key }, { path: `${path}.pem`, text: certificate }] })
  }
}
