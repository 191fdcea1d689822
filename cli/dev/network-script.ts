/**
 * The network plan as one shell script for `sh -eu` inside: namespaces, kernel settings, all veth pairs, then the rest
 * (an address can only be added where both ends exist). Pure.
 *
 * nsenter and not `ip netns exec`: the latter mounts /sys anew, which containers forbid.
 */
import { NAMESPACES_DIRECTORY } from './inside-protocol.ts'
import type { NetworkPlan } from './network-plan.ts'

const HERE_END = 'NEARCAST_END'

/** Runs `commands` (lines for `ip -6 -batch`) in a namespace. */
export function ipScript(namespace: string, commands: readonly string[]): string {
  return commands.length === 0 ? '' : `${enter(namespace)} ip -6 -batch - <<${HERE_END}\n${commands.join('\n')}\n${HERE_END}\n`
}

export function enter(namespace: string): string {
  return `nsenter --net=${NAMESPACES_DIRECTORY}/${namespace} --`
}

function isPair(command: string): boolean {
  return command.startsWith('link add ')
}

export function networkScript(plan: NetworkPlan): string {
  return [
    ...plan.namespaces.map((namespace) => `ip netns add ${namespace}\n`),
    ...plan.setups.map(({ namespace, settings }) => `${enter(namespace)} sh -eu <<${HERE_END}\n${settings.map(([file, value]) => `echo ${value} > /proc/sys/net/${file}\n`).join('')}${HERE_END}\n`),
    ...plan.setups.map(({ namespace, commands }) => ipScript(namespace, commands.filter(isPair))),
    ...plan.setups.map(({ namespace, commands }) => ipScript(namespace, commands.filter((command) => !isPair(command)))),
  ].join('')
}

/** Prints yes or no. */
export const NETEM_PROBE = `
ip netns add netem-probe
if ${enter('netem-probe')} tc qdisc add dev lo root netem delay 1ms 2>/dev/null; then echo yes; else echo no; fi
ip netns delete netem-probe
`

/** Prints why not, or nothing. Ordinary users may not open /dev/net/tun everywhere. */
export const TUN_PROBE = `
ip netns add tun-probe
${enter('tun-probe')} ip tuntap add mode tun name probe 2>&1 || true
ip netns delete tun-probe
`
