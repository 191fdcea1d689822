/**
 * Faults on demand: what `nearcast dev stop|kill|pause|break|blackhole|restore` do to a running cluster. Remembers what
 * is broken, so that `restore` mends exactly that.
 */
import { NearcastError } from '../../lib/errors.ts'
import { listOf, redisObject } from '../api-objects.ts'
import type { Cluster } from './cluster.ts'
import type { Verb } from './kept-program.ts'
import { enter } from './network-script.ts'
import { HOP_PORT, agentDataDirectory, hopSocket } from './programs.ts'
import type { Host } from './topology.ts'

const BLACKHOLE_TABLE = 'inet nearcast_dev'

export class Faults {
  readonly #cluster: Cluster
  /** `gru-1/redis:acme/cache` -> the engine's directory */
  readonly #loops = new Map<string, string>()
  readonly #black = new Set<Host>()

  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  get status(): { readonly crashLoops: readonly string[]; readonly blackholes: readonly string[] } {
    return { crashLoops: [...this.#loops.keys()], blackholes: [...this.#black].map(({ id }) => `${id}/agent`) }
  }

  /** `target`: `<region or host>/<router|agent|proxy|gateway|backbone>` or `<region or host>/redis:<org>/<name>`. @returns what was steered. */
  async steer(target: string, verb: Verb): Promise<string[]> {
    const engine = parseEngine(target)
    if (engine !== null) return this.#steerEngine(target, engine, verb)
    const ids = await this.#programs(target)
    await Promise.all(ids.map((id) => this.#cluster.world.call('steer', { id, verb })))
    return ids
  }

  /** One tenant's engine in a crash loop. */
  async break(target: string, on: boolean): Promise<string[]> {
    const engine = parseEngine(target)
    if (engine === null) throw new NearcastError('cli.usage', `"${target}" is no engine; write <region>/redis:<org>/<name>.`)
    const engines = on ? await this.#engines(engine) : this.#broken(engine)
    for (const [id, directory] of engines) await this.#loop(id, directory, on)
    return engines.map(([id]) => id)
  }

  /** Packets that would open a connection to the agent's hop are dropped without an answer. */
  async blackhole(target: string, on: boolean): Promise<string[]> {
    const hosts = this.#hosts(target.replace(/\/agent$/, '')).filter(({ agent }) => agent)
    if (hosts.length === 0) throw new NearcastError('dev.unknown-target', `"${target}" has no agent; write <region or host>/agent.`)
    for (const host of hosts) await this.#setBlackhole(host, on)
    return hosts.map(({ id }) => `${id}/agent`)
  }

  /** Ends every fault, or those of one target: `<place>/agent`, `<place>/redis:<org>/<name>`, `<region>-<region>`. */
  async restore(target?: string): Promise<string[]> {
    if (target !== undefined) return this.#restoreOne(target)
    const restored: string[] = []
    for (const [id, directory] of this.#loops) {
      await this.#loop(id, directory, false)
      restored.push(id)
    }
    for (const host of this.#black) {
      await this.#setBlackhole(host, false)
      restored.push(`${host.id}/agent`)
    }
    for (const { id, dropping } of this.#cluster.links.status) {
      if (!dropping) continue
      await this.#cluster.links.change(id, 'restore')
      restored.push(id)
    }
    for (const { id, state } of await this.#cluster.world.call('list', {})) {
      if (state !== 'stopped' && state !== 'paused') continue
      await this.#cluster.world.call('steer', { id, verb: 'start' })
      restored.push(id)
    }
    return restored
  }

  async #restoreOne(target: string): Promise<string[]> {
    if (parseEngine(target) !== null) return this.break(target, false)
    if (!target.includes('/')) return [(await this.#cluster.links.change(target, 'restore')).id]
    const ids = await this.steer(target, 'start')
    for (const host of this.#black) if (ids.includes(`${host.id}/agent`)) await this.#setBlackhole(host, false)
    return ids
  }

  async #steerEngine(target: string, engine: Engine, verb: Verb): Promise<string[]> {
    if (verb === 'start') return this.break(target, false)
    if (verb !== 'kill') throw new NearcastError('cli.usage', `An engine can be killed or broken,hing else; use "dev kill" or "dev break".`)
    const engines = await this.#engines(engine)
    let killed = 0
    for (const [, directory] of engines) killed += (await this.#cluster.world.call('killEngine', { directory })).killed
    if (killed === 0) throw new NearcastError('dev.unknown-target', `No engine of ${engine.org}/${engine.name} runs on ${engine.place}.`)
    return [target]
  }

  async #loop(id: string, directory: string, on: boolean): Promise<void> {
    await this.#cluster.world.call('crashLoop', { directory, on })
    if (!on) this.#loops.delete(id)
    else this.#loops.set(id, directory)
  }

  /** A dialler on the same host doesn't use TCP: its Unix socket is moved away for as long. */
  async #setBlackhole(host: Host, on: boolean): Promise<void> {
    const socket = hopSocket(host)
    const nft = `${enter(host.id)} nft`
    const text = on
      ? `${nft} -f - <<NEARCAST_END
table ${BLACKHOLE_TABLE} {
  chain input {
    type filter hook input priority -300; policy accept;
    tcp dport ${HOP_PORT} tcp flags & (syn | ack) == syn drop
  }
}
NEARCAST_END
if [ -e ${socket} ]; then mv ${socket} ${socket}.away; fi
`
      : `${nft} delete table ${BLACKHOLE_TABLE} || true
if [ -e ${socket}.away ] && [ ! -e ${socket} ]; then mv ${socket}.away ${socket}; else rm -f ${socket}.away; fi
`
    if (on && this.#black.has(host)) return
    await this.#cluster.world.call('script', { text })
    if (on) this.#black.add(host)
    else this.#black.delete(host)
  }

  #hosts(place: string): Host[] {
    const { hosts } = this.#cluster.topology
    const found = hosts.filter(({ id, region }) => id === place || region === place)
    if (found.length === 0) throw new NearcastError('dev.unknown-target', `There is no region or host "${place}"; there are ${hosts.map(({ id }) => id).join(', ')}.`)
    return found
  }

  async #programs(target: string): Promise<string[]> {
    const [place = '', kind = '', ...rest] = target.split('/')
    if (rest.length > 0 || kind === '') throw new NearcastError('cli.usage', `"${target}" is no program; write <region or host>/<router|agent|proxy|gateway|backbone>.`)
    const running = (await this.#cluster.world.call('list', {})).map(({ id }) => id)
    if (running.includes(target)) return [target]
    const ids = this.#hosts(place).map(({ id }) => `${id}/${kind}`)
    const found = ids.filter((id) => running.includes(id))
    if (found.length === 0) throw new NearcastError('dev.unknown-target', `There is no program ${target}; there are ${running.join(', ')}.`)
    return found
  }

  /** Those in a crash loop, without asking the registry: the database may have been destroyed since. */
  #broken(engine: Engine): (readonly [string, string])[] {
    const ids = this.#hosts(engine.place).map((host) => engineId(host, engine))
    return [...this.#loops].filter(([id]) => ids.includes(id))
  }

  async #engines(engine: Engine): Promise<(readonly [string, string])[]> {
    const database = (await this.#cluster.client.get(`/v1/orgs/${encodeURIComponent(engine.org)}/redis`, listOf(redisObject))).find(({ name, id }) => name === engine.name || id === engine.name)
    if (database === undefined) throw new NearcastError('dev.unknown-target', `${engine.org} has no database "${engine.name}".`)
    return this.#hosts(engine.place)
      .filter(({ agent }) => agent)
      .map((host) => [engineId(host, engine), `${agentDataDirectory(host)}/${database.id}`] as const)
  }
}

interface Engine {
  readonly place: string
  readonly org: string
  readonly name: string
}

function engineId(host: Host, { org, name }: Engine): string {
  return `${host.id}/redis:${org}/${name}`
}

function parseEngine(target: string): Engine | null {
  const [, place, org, name] = /^([^/]+)\/redis:([^/]+)\/([^/]+)$/.exec(target) ?? []
  return place === undefined || org === undefined || name === undefined ? null : { place, org, name }
}
