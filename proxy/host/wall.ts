/**
 * The host's side of the proxy, in one: which addresses are local (prefixes.ts) or that all are intercepted
 * (interception.ts), and what the packet filter lets through (guard.ts). Its drop counters are read now and then, because a metrics scrape can't wait for them.
 */
import type { NetworkId } from '../../lib/address.ts'
import { asNearcastError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { RunCommand } from '../../lib/host-command.ts'
import { Guard } from './guard.ts'
import type { Dropped } from './guard.ts'
import { setInterceptRoute } from './interception.ts'
import type { Intercept } from './interception.ts'
import { Prefixes } from './prefixes.ts'
import type { Ingress } from './ruleset.ts'

export interface HostWallOptions {
  readonly prefix: number
  readonly ingress: readonly Ingress[]
  readonly run: RunCommand
  readonly intercept: Intercept['kind']
  readonly log: Logger
}

const COUNTERS_INTERVAL_MS = 5000

export class HostWall {
  readonly #options: HostWallOptions
  readonly #prefixes: Prefixes
  readonly #guard: Guard
  #timer: NodeJS.Timeout | undefined
  #dropped: readonly Dropped[] = []

  constructor(options: HostWallOptions) {
    const { prefix, ingress, run, intercept } = options
    this.#options = options
    this.#prefixes = new Prefixes({ prefix, ingress: ingress.map((each) => each.interface), run })
    this.#guard = new Guard({ prefix, ingress, run, intercepts: intercept === 'tproxy' })
  }

  /** The filter stands before any address is local. @throws NearcastError host.* */
  async install(): Promise<void> {
    await this.#prefixes.prepare()
    await this.#guard.install()
    await setInterceptRoute(this.#intercepts, this.#options.run)
    if (this.#intercepts) await this.#prefixes.replace([])
    this.#timer = setInterval(() => void this.#count(), COUNTERS_INTERVAL_MS)
    this.#timer.unref()
  }

  async replace(networks: Iterable<NetworkId>): Promise<void> {
    if (!this.#intercepts) await this.#prefixes.replace(networks)
  }

  async change(added: Iterable<NetworkId>, removed: Iterable<NetworkId>): Promise<void> {
    if (!this.#intercepts) await this.#prefixes.change(added, removed)
  }

  /** The one listener, where connections are intercepted. */
  handTo(port: number | null): Promise<void> {
    return this.#guard.handTo(port)
  }

  open(ports: readonly number[]): Promise<void> {
    return this.#guard.open(ports)
  }

  /** As last read. */
  get dropped(): readonly Dropped[] {
    return this.#dropped
  }

  /** Ends the reading. Routes and filter stay. */
  stop(): void {
    clearInterval(this.#timer)
  }

  get #intercepts(): boolean {
    return this.#options.intercept === 'tproxy'
  }

  async #count(): Promise<void> {
    try {
      this.#dropped = await this.#guard.dropped()
    } catch (error) {
      this.#options.log.error({ code: asNearcastError(error).code }, asNearcastError(error).message)
    }
  }
}
