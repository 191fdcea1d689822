/** The link emulation, judged by the kernel's own ping and TCP. */
import { execFile, spawnSync } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const isolated = ['--user', '--map-root-user', '--net', '--mount', '--pid', '--fork', '--mount-proc', '--kill-child']
const probe = spawnSync('unshare', [...isolated, 'sh', '-c', 'command -v ip ping'])
const forbidden = probe.status === 0 ? '' : 'needs user namespaces, ip and ping'

interface Measured {
  at20: number[]
  at60: number[]
  dropped: number[]
  restored: number[]
  exitCode: number
  streamed: { connectMs: number; bytes: number; ms: number; intact: boolean }
}

test.skipIf(forbidden)(`a relayed link delays packets both ways, keeps streams whole, obeys at run time ${forbidden}`, async () => {
  const scenario = new URL('../support/relay-scenario.ts', import.meta.url).pathname
  const { stdout } = await promisify(execFile)('unshare', [...isolated, process.execPath, scenario], { timeout: 19_000, killSignal: 'SIGKILL' })
  const measured = JSON.parse(stdout) as Measured
  expect(measured.at20).toHaveLength(20)
  // The quickest: a busy machine delays the others further.
  expect(Math.min(...measured.at20)).toBeGreaterThanOrEqual(20)
  expect(Math.min(...measured.at20)).toBeLessThan(23)
  expect(measured.streamed.connectMs).toBeGreaterThanOrEqual(20)
  expect(measured.streamed.connectMs).toBeLessThan(23)
  expect(measured.streamed).toMatchObject({ bytes: 64 << 20, intact: true })
  // Segments pass whole (GSO): with one frame per 1500 bytes this machine class stays below half of it.
  const megabytesPerSecond = measured.streamed.bytes / 1e3 / measured.streamed.ms
  expect(megabytesPerSecond).toBeGreaterThan(20)
  expect(Math.min(...measured.at60)).toBeGreaterThanOrEqual(60)
  expect(Math.min(...measured.at60)).toBeLessThan(63)
  expect(measured.dropped).toEqual([])
  expect(measured.restored).toHaveLength(3)
  expect(measured.exitCode).toBe(0)
})
