/**
 * How connections to Flycast addresses come to the proxy's listeners:
 *
 *   local    each network's Flycast addresses are the host's own (prefixes.ts), and there is a listener per port
 *   tproxy   no address is the host's own: nftables hands what is sent to them to ONE listener (ruleset.ts), whatever the
 *            network and the port, and a rule by a mark routes it to the host (here)
 *
 * What isn't used is taken away, so that a host can change from one to the other. `auto` tries what tproxy needs.
 */
import type { Support } from '../../lib/kernel/ffi.ts'
import { asNearcastError, NearcastError } from '../../lib/errors.ts'
import type { RunCommand } from '../../lib/host-command.ts'
import { ROUTE_PROTOCOL } from './prefixes.ts'
import { MARK, ruleset } from './ruleset.ts'

export const INTERCEPTS = ['auto', 'tproxy', 'local'] as const
export type WantedIntercept = (typeof INTERCEPTS)[number]

export interface Intercept {
  readonly kind: 'tproxy' | 'local'
  readonly reason: string
}

/** A routing table of our own: everything that gets there is for this host. */
const TABLE = '7800'
const RULE = ['priority', '7800', 'fwmark', MARK, 'lookup', TABLE]

export interface InterceptQuestion {
  readonly wanted: WantedIntercept
  readonly manageHost: boolean
  readonly prefix: number
  readonly run: RunCommand
  readonly probe: () => Support
}

/** @throws NearcastError kernel.unsupported when `tproxy` is wanted and can't be */
export async function chooseIntercept({ wanted, manageHost, prefix, run, probe }: InterceptQuestion): Promise<Intercept> {
  if (wanted === 'local') return { kind: 'local', reason: 'as configured' }
  const missing = manageHost ? await whatIsMissing(prefix, run, probe) : 'manageHost is false, and routes are the operator\'s'
  if (missing === null) return { kind: 'tproxy', reason: wanted === 'auto' ? 'it works here' : 'as configured' }
  if (wanted === 'auto') return { kind: 'local', reason: `no tproxy: ${missing}` }
  throw new NearcastError('kernel.unsupported', `intercept = "tproxy" can't be had here: ${missing}. Use "local", or "auto".`)
}

async function whatIsMissing(prefix: number, run: RunCommand, probe: () => Support): Promise<string | null> {
  const socket = probe()
  if (socket.answer !== 'yes') return socket.reason
  try {
    // Checked by the kernel, and not put in force.
    await run('nft', ['-c', '-f', '-'], ruleset([], prefix, [], { port: 1 }))
    await setInterceptRoute(true, run)
    return null
  } catch (error) {
    return asNearcastError(error).message
  }
}

/** What carries the mark is for this host, whatever its address. @throws NearcastError host.* */
export async function setInterceptRoute(wanted: boolean, run: RunCommand): Promise<void> {
  const rules = JSON.parse((await run('ip', ['-6', '-N', '-j', 'rule', 'show', 'priority', '7800'])) || '[]') as unknown[]
  const verb = wanted ? 'replace' : 'del'
  const routes = JSON.parse((await run('ip', ['-6', '-N', '-j', 'route', 'show', 'table', 'all', 'proto', ROUTE_PROTOCOL])) || '[]') as { table?: string }[]
  const routed = routes.some(({ table }) => table === TABLE)
  const lines = [
    ...(wanted !== routed ? [`route ${verb} local default dev lo table ${TABLE} proto ${ROUTE_PROTOCOL}\n`] : []),
    ...(wanted && rules.length === 0 ? [`rule add ${RULE.join(' ')}\n`] : []),
    ...(wanted ? [] : rules.map(() => `rule del ${RULE.join(' ')}\n`)),
  ]
  if (lines.length > 0) await run('ip', ['-6', '-batch', '-'], lines.join(''))
}
