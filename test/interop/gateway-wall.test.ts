/**
 * The wall of a proxy beside a gateway, in a kernel: who may come in by the gateway's interface, and who may not pretend to
 * have come in by it.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { WallReport } from '../support/wall-process.ts'

const NAMESPACE = ['--user', '--map-root-user', '--net']
const able = spawnSync('unshare', [...NAMESPACE, 'sh', '-c', 'nft list ruleset && ip tuntap add mode tun name probe']).status === 0

test.skipIf(!able)(`peers of every network and nobody else, to Flycast addresses and nothing else${able ? '' : ' (skipped: needs user namespaces, nft and TUN interfaces)'}`, () => {
  const { stdout, stderr } = spawnSync('unshare', [...NAMESPACE, process.execPath, join(import.meta.dirname, '../support/wall-process.ts')], { encoding: 'utf8', timeout: 20_000 })
  expect(stderr).toBe('')
  const { dropped, answers } = JSON.parse(stdout) as WallReport
  expect(answers).toEqual([
    // A closed port looks like one that nobody listens on.
    'app: SYN ACK fdaa:0:1:0:1::1 fdaa:0:1:0:2:0:1:2',
    'wg: RST fdaa:0:1:0:1::1 fdaa:0:1:ffff:ffff::102',
    'wg: SYN ACK fdaa:0:1:0:1::1 fdaa:0:1:ffff:ffff::102',
    'wg: echo fdaa:0:1:0:1::1 fdaa:0:1:ffff:ffff::102',
  ])
  expect(dropped).toEqual({
    // A machine, the Internet, a Flycast address: none of them is a peer.
    'wg spoofed': 3,
    'wg outside': 2,
    'wg protocol': 1,
    'wg closed': 1,
    // A peer's address by an interface that isn't the gateway's.
    'app spoofed': 2,
  })
})
