/**
 * What fails while a commit or an acknowledgement is being worked on was thrown at the wrong place: out of the handler of
 * a reader's message (the router ended), or out of a write that had committed (other readers missed that commit).
 */
import { expect, test } from 'vitest'
import { NearcastError } from '../../lib/errors.ts'
import { startRegistry } from '../support/registry.ts'
import { until } from '../support/until.ts'

test('a full disk under a running rotation stops nothing; it goes on when there is room again', async () => {
  const registry = await startRegistry()
  try {
    const { store, rotation } = registry.registry
    const agent = registry.reader(await registry.join('agent', 'mad-1'))
    await agent.start()
    const write = store.write.bind(store)
    let refused = 0
    store.write = (act, work) => {
      if (act.what !== 'hop-keys.advance') return write(act, work)
      refused++
      throw new NearcastError('store.full', 'The disk of the registry is full.')
    }
    await registry.made('/v1/hop-keys/rotate', {})
    await until('the rotation tried to go on', () => refused > 0)
    expect((await registry.call('GET', '/v1/status')).body).toMatchObject({ keyRotation: 'running' })
    store.write = write
    await registry.join('proxy', 'mad-1')
    await until('the agent is ahead', () => store.get('nodes', 'mad-1')?.signing === store.get('nodes', 'mad-1')?.epochs[0])
    expect(rotation.running).toBe(true)
  } finally {
    await registry.remove()
  }
})

test('a view that cannot be made costs its own reader only', async () => {
  const registry = await startRegistry()
  try {
    const { store, vault } = registry.registry
    const seen: number[] = []
    const agent = registry.reader(await registry.join('agent', 'mad-1'))
    await agent.start()
    const proxy = registry.reader(await registry.join('proxy', 'mad-1'), {
      apply: (table) => {
        seen.push(table.services.size)
        return []
      },
    })
    await proxy.start()
    const open = vault.open.bind(vault)
    let broken = true
    vault.open = (service, sealed) => {
      if (broken) throw new NearcastError('store.corrupt', 'The credentials cannot be opened.')
      return open(service, sealed)
    }
    await registry.made('/v1/orgs', { name: 'acme' })
    await registry.call('POST', '/v1/orgs/acme/redis', { name: 'cache', region: 'mad' })
    await until('the proxy has the service', () => seen.at(-1) === 1)
    broken = false
    await until('the agent is back, from a snapshot', () => registry.registry.feed.isConnected('agent/mad-1') && agent.revision >= store.revision)
  } finally {
    await registry.remove()
  }
})
