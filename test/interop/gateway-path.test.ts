/** The gateway's data path as it runs: in its thread, with an interface of the kernel and a socket that somebody else opened. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { GatewayPathReport } from '../support/gateway-path-process.ts'

const NAMESPACE = ['--user', '--map-root-user', '--net']
const able = spawnSync('unshare', [...NAMESPACE, 'ip', 'tuntap', 'add', 'mode', 'tun', 'name', 'probe']).status === 0

test.skipIf(!able)(`a peer comes, is held to its network and goes; the key moves; the interface ends with it${able ? '' : ' (skipped: needs user namespaces and TUN interfaces)'}`, { timeout: 60_000 }, () => {
  const { stdout, stderr } = spawnSync('unshare', [...NAMESPACE, process.execPath, join(import.meta.dirname, '../support/gateway-path-process.ts')], { encoding: 'utf8', timeout: 50_000 })
  expect(stderr).toBe('')
  const { received, foreign, ...report } = JSON.parse(stdout) as GatewayPathReport
  expect(report).toEqual({ zeroed: true, seen: 1, afterRemoval: 0, interfaces: [true, false], ended: [], taken: 'listen.in-use', narrow: 10 } satisfies Omit<GatewayPathReport, 'received' | 'foreign'>)
  expect([received, foreign]).toEqual([1, 1])
})
