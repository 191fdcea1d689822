/** Any address and port by one listener (nftables, tproxy), in namespaces: who is let in, with true addresses, and who is reset. */
import { execFile, spawnSync } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { probeIoUring } from '../../lib/kernel/io-uring-probe.ts'
import { NearcastError } from '../../lib/errors.ts'
import { chooseIntercept, setInterceptRoute } from '../../proxy/host/interception.ts'

const isolated = ['--user', '--map-root-user', '--net', '--pid', '--fork', '--mount-proc', '--kill-child']
const TRY = `nft add table inet probe && nft add chain inet probe in '{ type filter hook prerouting priority mangle; }' && nft add rule inet probe in meta l4proto tcp tproxy ip6 to :1 && command -v ip nsenter ping`
const able = spawnSync('unshare', [...isolated, 'sh', '-c', TRY]).status === 0
const world = new URL('../support/intercept-world.ts', import.meta.url).pathname

test.skipIf(!able).each(['portable', 'uring'])('one listener of the %s plane takes all ports of all networks, and nothing else', async (plane) => {
  if (plane === 'uring' && probeIoUring().answer !== 'yes') return
  const { stdout } = await promisify(execFile)('unshare', [...isolated, process.execPath, world, plane])
  const source = 'fdaa:0:1:2::5'
  expect(JSON.parse(stdout)).toEqual({
    plane,
    intercept: { kind: 'tproxy', reason: 'it works here' },
    before: ['ECONNREFUSED'],
    failed: 0,
    answers: [`${source} fdaa:0:1:0:1::7 6379`, `${source} fdaa:0:1:0:1::7 40099`, 'ECONNREFUSED', 'ECONNREFUSED', 'ECONNRESET', 'ECONNRESET'],
    direct: 'ECONNRESET',
    ping: 0,
    after: ['ECONNREFUSED', 'ECONNREFUSED'],
  })
})

const refusing = (): Promise<string> => Promise.reject(new NearcastError('host.denied', 'no.'))
const yes = (): { answer: 'yes' } => ({ answer: 'yes' })

test('auto says why connections are not intercepted, and tproxy does not start without it', async () => {
  const question = { prefix: 0xfdaa, manageHost: true, run: refusing, probe: yes }
  expect(await chooseIntercept({ ...question, wanted: 'auto' })).toEqual({ kind: 'local', reason: 'no tproxy: no.' })
  expect(await chooseIntercept({ ...question, wanted: 'auto', manageHost: false })).toMatchObject({ kind: 'local', reason: expect.stringContaining('manageHost') })
  expect(await chooseIntercept({ ...question, wanted: 'local' })).toMatchObject({ kind: 'local' })
  await expect(chooseIntercept({ ...question, wanted: 'tproxy' })).rejects.toMatchObject({ code: 'kernel.unsupported' })
  const unable = { ...question, probe: () => ({ answer: 'no', reason: 'IPV6_TRANSPARENT: EPERM' }) as const }
  expect(await chooseIntercept({ ...unable, wanted: 'auto' })).toMatchObject({ reason: 'no tproxy: IPV6_TRANSPARENT: EPERM' })
})

test('the route of intercepted packets is made once, and taken away when it is not wanted', async () => {
  const batches: string[] = []
  let present = false
  const run = (_program: string, args: readonly string[], input?: string): Promise<string> => {
    if (input !== undefined) {
      batches.push(input)
      present = input.includes('rule add')
    }
    if (!present) return Promise.resolve('')
    return Promise.resolve(args.includes('rule') ? '[{"priority":7800}]' : '[{"dst":"default","table":"7800"}]')
  }
  for (const wanted of [true, true, false, false]) await setInterceptRoute(wanted, run)
  expect(batches).toHaveLength(2)
  expect(batches[1]).toContain('rule del')
})
