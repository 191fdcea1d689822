/**
 * Where WireGuard is measured: two network namespaces inside the bench's own, with a wire between them.
 *
 *   left: the device under test                right: wireguard-go, or the crowd
 *   wg-left  fdaa:0:1:2::1    the tunnel       wg-right  fdaa:0:1:2::2
 *   eth0 10.99.0.1         ───────────────     eth0 10.99.0.2
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'

export const DIRECTORY = '/run/bench'
export const PORT = 51820
export const MTU = 1420

export interface Side {
  readonly netns: 'left' | 'right'
  /** On the wire. */
  readonly host: string
  /** wireguard-go's sockets are by its name, so each side has another. */
  readonly interface: string
  /** In the tunnel. */
  readonly inside: string
}

export const LEFT: Side = { netns: 'left', interface: 'wg-left', host: '10.99.0.1', inside: 'fdaa:0:1:2::1' }
export const RIGHT: Side = { netns: 'right', interface: 'wg-right', host: '10.99.0.2', inside: 'fdaa:0:1:2::2' }
/** Addresses of many peers, all behind the device under test. */
export const CROWD_PREFIX = 'fdaa:0:1:3::/64'

/** Of one of many. */
export function crowdAddress(index: number): string {
  return `fdaa:0:1:3::${(index + 1).toString(16)}`
}

/** A command on a side, as program and words. */
export function on({ netns }: Side, ...command: readonly string[]): [program: string, words: string[]] {
  return ['nsenter', [`--net=/run/netns/${netns}`, '--', ...command]]
}

export function run(side: Side, ...command: readonly string[]): string {
  return execFileSync(...on(side, ...command), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

function ip(words: string): void {
  execFileSync('ip', words.split(' '))
}

/** Only inside the bench's namespaces. */
export function makeWorld(): void {
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run'])
  mkdirSync(DIRECTORY)
  for (const { netns } of [LEFT, RIGHT]) ip(`netns add ${netns}`)
  ip('link add eth0 netns left type veth peer name eth0 netns right')
  for (const { netns, host } of [LEFT, RIGHT]) {
    ip(`-n ${netns} link set lo up`)
    ip(`-n ${netns} link set eth0 up`)
    ip(`-n ${netns} address add ${host}/24 dev eth0`)
  }
}
