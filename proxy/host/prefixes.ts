/**
 * Which addresses are local to this host: one `local <network>:0:1::/80 dev lo` per network, so that one listener per
 * port accepts for all Flycast addresses. Never a wider route: with a whole /48 local, replies to clients end on lo.
 *
 * Our routes carry a protocol number of their own. With it the ones of an earlier run are found again; everybody else's
 * are left alone, and where one of them covers the same addresses the program refuses to start. Routes stay when the
 * program stops: a client then meets a closed port, not another host.
 */
import { flycastPrefix } from '../../lib/address.ts'
import type { NetworkId } from '../../lib/address.ts'
import { NearcastError } from '../../lib/errors.ts'
import type { RunCommand } from '../../lib/host-command.ts'
import { contains, parseCidr } from './cidr.ts'

/** `ip route … proto 78`: free in /etc/iproute2/rt_protos. */
export const ROUTE_PROTOCOL = '78'

export interface PrefixesOptions {
  /** First 16 bits of the address plan. */
  readonly prefix: number
  /** Routes of the plan through these are the ways back to clients. */
  readonly ingress: readonly string[]
  readonly run: RunCommand
}

interface HostRoute {
  readonly type?: string
  readonly dst: string
  readonly dev?: string
  readonly protocol?: string
}

export class Prefixes {
  readonly #options: PrefixesOptions
  readonly #local = new Set<string>()

  constructor(options: PrefixesOptions) {
    this.#options = options
  }

  /** @throws NearcastError host.overlap, host.denied, host.command-missing, host.failed */
  async prepare(): Promise<void> {
    const listed = await this.#options.run('ip', ['-6', '-N', '-j', 'route', 'show', 'table', 'all'])
    const other = overlapping(JSON.parse(listed) as HostRoute[], this.#options)
    if (other) {
      const plan = `${this.#options.prefix.toString(16)}::/16`
      const by = `${other.dst}${other.dev === undefined ? '' : ` dev ${other.dev}`}`
      throw new NearcastError('host.overlap', `This host already routes ${by}, which overlaps with ${plan}; set another prefix, or name it in [[ingress]].`)
    }
  }

  /** Makes exactly these networks local, whatever an earlier run left. */
  async replace(networks: Iterable<NetworkId>): Promise<void> {
    const wanted = new Set(Array.from(networks, (network) => this.#textOf(network)))
    const listed = await this.#options.run('ip', ['-6', '-N', '-j', 'route', 'show', 'table', 'local', 'proto', ROUTE_PROTOCOL])
    const present = new Set((JSON.parse(listed || '[]') as HostRoute[]).map((route) => route.dst))
    this.#local.clear()
    for (const text of present) this.#local.add(text)
    await this.#batch(
      [...wanted].filter((text) => !present.has(text)),
      [...present].filter((text) => !wanted.has(text)),
    )
  }

  /** O(changed). Networks that are local already, or not local, are left as they are. */
  async change(added: Iterable<NetworkId>, removed: Iterable<NetworkId>): Promise<void> {
    await this.#batch(
      Array.from(added, (network) => this.#textOf(network)).filter((text) => !this.#local.has(text)),
      Array.from(removed, (network) => this.#textOf(network)).filter((text) => this.#local.has(text)),
    )
  }

  get count(): number {
    return this.#local.size
  }

  #textOf(network: NetworkId): string {
    return flycastPrefix(network, this.#options.prefix)
  }

  async #batch(added: readonly string[], removed: readonly string[]): Promise<void> {
    if (added.length + removed.length === 0) return
    const lines = [...removed.map((text) => command('del', text)), ...added.map((text) => command('replace', text))]
    await this.#options.run('ip', ['-6', '-batch', '-'], lines.join(''))
    for (const text of removed) this.#local.delete(text)
    for (const text of added) this.#local.add(text)
  }
}

function command(verb: 'replace' | 'del', text: string): string {
  return `route ${verb} local ${text} dev lo table local proto ${ROUTE_PROTOCOL}\n`
}

/** The first route of somebody else inside the address plan. Network 0 is infrastructure and may be routed as one likes. */
function overlapping(routes: readonly HostRoute[], { prefix, ingress }: PrefixesOptions): HostRoute | null {
  const plan = parseCidr(`${prefix.toString(16)}::/16`)
  const infrastructure = parseCidr(`${prefix.toString(16)}::/48`)
  for (const route of routes) {
    if (route.dst === 'default' || route.protocol === ROUTE_PROTOCOL || ingress.includes(route.dev ?? '')) continue
    if (['unreachable', 'blackhole', 'prohibit', 'throw'].includes(route.type ?? '')) continue
    const destination = parseCidr(route.dst)
    if (!destination || !plan || !infrastructure || contains(infrastructure, destination)) continue
    if (contains(plan, destination) || contains(destination, plan)) return route
  }
  return null
}
