/**
 * A host's WireGuard keys: the one in use, and while it changes the next one. Which of the two is in use the feed says
 * (router/registry/trust/backbone-rekey.ts), so that a host that was away finds out when it is back.
 */
import { closeSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { NearcastError } from '../../lib/errors.ts'
import { loadIdentity } from '../../lib/identity.ts'
import { makeWireguardKey, readWireguardKey } from '../wireguard-key.ts'
import type { WireguardKey } from '../wireguard-key.ts'

export class BackboneKeys {
  /** Of the one in use. */
  readonly file: string
  readonly #directory: string
  readonly #nextFile: string
  #current: string
  #next: WireguardKey | null

  /** @throws NearcastError identity.invalid */
  constructor(stateDir: string) {
    this.#directory = stateDir
    this.file = join(stateDir, 'wireguard.key')
    this.#nextFile = join(stateDir, 'wireguard.next.key')
    this.#next = readWireguardKey(this.#nextFile)
    const known = readWireguardKey(this.file)
    if (known === null && loadIdentity(stateDir) !== null) {
      throw new NearcastError('identity.invalid', `${this.file} is gone, and the other hosts know its public half; restore it, or remove identity.json and join again.`)
    }
    this.#current = (known ?? makeWireguardKey(this.file)).publicKey
  }

  /** Base64, of the one in use. */
  get publicKey(): string {
    return this.#current
  }

  /** 32 bytes, for whoever uses it up. */
  privateKey(): Uint8Array {
    const key = readWireguardKey(this.file)
    if (key === null) throw new NearcastError('identity.invalid', `${this.file} is gone; restore it, or remove identity.json and join again.`)
    return key.privateKey
  }

  /** Made when there is none yet. @returns its public half */
  offer(): string {
    this.#next ??= makeWireguardKey(this.#nextFile)
    return this.#next.publicKey
  }

  /**
   * `keys`: what the other hosts were told, the one to use first.
   * @returns the private key to use from now on, or null when it is the same as before. @throws NearcastError backbone.key-unknown
   */
  follow(keys: readonly string[]): Uint8Array | null {
    const [wanted = '', other] = keys
    if (wanted === this.#current) {
      // The one that was offered isn't, any more: whoever made it start over forgot it.
      if (this.#next !== null && keys.length > 1 && this.#next.publicKey !== other) this.#dropNext()
      return null
    }
    if (wanted !== this.#next?.publicKey) throw new NearcastError('backbone.key-unknown', `The other hosts were told the key ${wanted}, and ${this.file} is another one; restore it, or join again.`)
    renameSync(this.#nextFile, this.file)
    flushDirectory(this.#directory)
    const { privateKey } = this.#next
    this.#current = wanted
    this.#next = null
    return privateKey
  }

  #dropNext(): void {
    rmSync(this.#nextFile, { force: true })
    this.#next = null
  }
}

function flushDirectory(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
