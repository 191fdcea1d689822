/**
 * Features of the kernel, each tried rather than read from a version: inside a user and network namespace of its own, which
 * is gone when the probe ends. Nothing of this machine is changed.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { probeFfi } from '../../lib/kernel/ffi.ts'
import type { Support } from '../../lib/kernel/ffi.ts'
import { probeIoUring } from '../../lib/kernel/io-uring-probe.ts'
import type { IoUringSupport } from '../../lib/kernel/io-uring-probe.ts'
import { autoReason } from '../../lib/plane/choose.ts'
import { probeFastPath } from '../../lib/wireguard/path.ts'
import { probeUserNamespaces, userNamespaceAdvice } from '../dev/user-namespaces.ts'
import type { Finding } from './finding.ts'
import type { Read } from './limits.ts'

const PROBE_TIMEOUT_MS = 10_000

interface Feature {
  readonly id: string
  readonly for: string
  readonly todo: string
  /** Run by sh in the namespace; its first word must be there. */
  readonly script: string
  readonly program: string
  readonly package: string
}

const TPROXY = `nft add table inet probe
nft add chain inet probe in '{ type filter hook prerouting priority mangle; }'
nft add rule inet probe in meta l4proto tcp ip6 daddr fdaa::/16 tproxy ip6 to :1 meta mark set 1 accept
ip link set lo up
ip -6 rule add fwmark 1 lookup 7800
ip -6 route add local default dev lo table 7800`

const FEATURES: readonly Feature[] = [
  {
    id: 'nftables',
    for: 'proxy: drops sources that an interface may not have',
    todo: 'load the kernel module nf_tables, or give the container NET_ADMIN',
    program: 'nft',
    package: 'nftables',
    script: "nft add table inet probe && nft add chain inet probe in '{ type filter hook input priority 0; }'",
  },
  { id: 'tproxy', for: 'proxy: one listener for all addresses and ports (else one per port)', todo: 'load the kernel module nft_tproxy; the kernel needs CONFIG_IPV6_MULTIPLE_TABLES', program: 'nft', package: 'nftables', script: `set -e; ${TPROXY}` },
  { id: 'netem', for: 'nearcast dev: link delays by the kernel (else by a relay of our own)', todo: 'load the kernel module sch_netem', program: 'tc', package: 'iproute2', script: 'tc qdisc add dev lo root netem delay 1ms' },
  { id: 'veth', for: 'nearcast dev: the hosts of the cluster', todo: 'load the kernel module veth', program: 'ip', package: 'iproute2', script: 'ip link add probe0 type veth peer name probe1' },
  {
    id: 'tun',
    for: 'gateway and backbone: their interfaces, also in nearcast dev (WireGuard itself is ours, no kernel module)',
    todo: 'load the kernel module tun, give the container /dev/net/tun, and ordinary users the right to open it (chmod 666)',
    program: 'ip',
    package: 'iproute2',
    script: 'ip tuntap add mode tun name probe0',
  },
  { id: 'wireguard', for: "backbone: the kernel's WireGuard (else ours)", todo: 'load the kernel module wireguard', program: 'wg', package: 'wireguard-tools', script: 'ip link add probe0 type wireguard' },
]

export async function checkFeatures(read: Read): Promise<Finding[]> {
  if (process.platform !== 'linux') {
    return [{ id: 'linux', group: 'kernel', for: 'proxy, agent, nearcast dev', answer: 'no', reason: `this is ${process.platform}`, todo: 'run them on Linux' }]
  }
  const namespaces = probeUserNamespaces()
  const tried = await Promise.all(FEATURES.map(async (feature) => finding(feature.id, feature.for, await tryFeature(feature, namespaces), feature.todo)))
  return [
    finding('ffi', 'system calls that Node has no interface for', probeFfi(), 'install again with optional packages: npm ci --include=optional'),
    finding('user-namespaces', 'nearcast dev, walls around databases', namespaces, userNamespaceAdvice((file) => read(`/proc/sys/${file}`)?.trim() ?? null)),
    finding('io_uring', 'the data plane of proxy and agent that costs least ("auto" takes the portable one without it)', probeIoUring(), 'sysctl -w kernel.io_uring_disabled=0; in a container allow io_uring_setup in its seccomp profile'),
    finding('wireguard-fast-path', 'gateway and backbone: many datagrams with one call ("auto" takes the portable path without it)', probeFastPath(), 'allow io_uring; UDP_SEGMENT and UDP_GRO come with Linux 5.0'),
    ...tried,
    finding('packet-sockets', 'nearcast dev: the relay of links', await inNamespace(PACKET_SOCKET), 'give the container NET_RAW'),
  ]
}

/** Prints nothing and ends with 0 when one can be opened. */
const PACKET_SOCKET = [process.execPath, import.meta.filename.replace(/features(\.[jt]s)$/, 'packet-probe$1')]

function finding(id: string, use: string, support: Support | IoUringSupport, todo: string): Finding {
  const base = { id, group: 'kernel', for: use, answer: support.answer } as const
  if (support.answer === 'yes') return { ...base, reason: 'features' in support ? autoReason(support) : 'it works' }
  return { ...base, reason: support.reason, ...(support.answer === 'no' && { todo }) }
}

async function tryFeature({ program, package: name, script }: Feature, namespaces: Support): Promise<Support> {
  if (namespaces.answer !== 'yes') return { answer: 'unknown', reason: 'it is tried in a namespace, and there are none' }
  const found = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/local/bin', '/usr/bin', '/bin'].some((directory) => existsSync(`${directory}/${program}`))
  if (!found) return { answer: 'unknown', reason: `${program} isn't installed (package ${name})` }
  return inNamespace(['sh', '-c', script])
}

function inNamespace(command: readonly string[]): Promise<Support> {
  const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` }
  return new Promise((resolve) => {
    execFile('unshare', ['--user', '--map-root-user', '--net', ...command], { timeout: PROBE_TIMEOUT_MS, env }, (error, _stdout, stderr) => {
      if (error === null) resolve({ answer: 'yes' })
      else if (error.killed === true) resolve({ answer: 'unknown', reason: 'no answer in time' })
      else resolve({ answer: 'no', reason: stderr.trim().split('\n')[0] || error.message.split('\n')[0] || 'it failed' })
    })
  })
}
