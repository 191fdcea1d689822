/** `nft flush ruleset` (a reload of nftables.service) took the wall down until the proxy was started again. */
import { expect, test } from 'vitest'
import { asNetworkId } from '../../lib/address.ts'
import { NearcastError } from '../../lib/errors.ts'
import { Guard } from '../../proxy/host/guard.ts'

const COUNTERS = JSON.stringify({ nftables: [{ counter: { name: 'i0_spoofed', packets: 7 } }] })

test('a table that is gone is put back with the ports that are open', async () => {
  let table: string | null = null
  const guard = new Guard({
    prefix: 0xfdaa,
    ingress: [{ interface: 'acme0', network: asNetworkId(1) }],
    run: (_program, args, input = '') => {
      if (args[0] === '-f' && input.startsWith('add table')) table = input
      else if (table === null) return Promise.reject(new NearcastError('host.failed', 'No such file or directory'))
      else if (args[0] === '-f') table += input
      return Promise.resolve(COUNTERS)
    },
  })
  await guard.install()
  await guard.open([6379, 5432])
  expect((await guard.dropped()).find(({ reason }) => reason === 'spoofed')?.packets).toBe(7)

  table = null
  await expect(guard.dropped()).rejects.toThrow('No such file')
  expect(table).toContain('elements = { 5432, 6379 }')
  expect(await guard.dropped()).not.toEqual([])
})
