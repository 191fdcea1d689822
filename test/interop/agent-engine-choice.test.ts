/**
 * Which server a database runs on. A script that runs redis-server stands for Valkey: what is shown here is the choice, not
 * Valkey.
 */
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { databaseRow, DataNode } from '../support/data-node.ts'

const HERE = [{ node: 'mad', role: 'primary' as const }]
const closing: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

test('each database runs on the server that it asks for; one that is missing costs only those that ask for it', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'nearcast-engines-'))
  closing.push(() => rmSync(directory, { recursive: true }))
  const stand = join(directory, 'valkey-server')
  writeFileSync(stand, `#!/bin/sh\ncase " $* " in *" - "*) : > stood-in ;; esac\nexec redis-server "$@"\n`, { mode: 0o755 })
  chmodSync(directory, 0o755)
  const node = new DataNode({ id: 'mad', redis: { valkeyServer: stand, redisServer: join(directory, 'nothing') } })
  closing.push(() => node.close())
  const failed = await node.feed(databaseRow('plain', HERE, 'pw'), databaseRow('valkeyed', HERE, 'pw', { engine: 'valkey' }), databaseRow('missing', HERE, 'pw', { engine: 'redis' }))
  expect(failed).toMatchObject([{ service: 'missing', code: 'redis.missing', message: expect.stringContaining('nothing') }])
  await node.available('valkeyed')
  await node.available('plain')
  expect(['valkeyed', 'plain'].map((service) => existsSync(join(node.dataDir, service, 'data', 'stood-in')))).toEqual([true, false])
  const known = (await node.agent.answer('redis.commands', { service: 'valkeyed' })) as { server: string; commands: { name: string; kind: string }[] }
  expect(known.server).toMatch(/^(redis|valkey) \d+\./)
  expect(known.commands).toEqual(expect.arrayContaining([{ name: 'get', kind: 'read' }, { name: 'set', kind: 'write' }, { name: 'blpop', kind: 'other' }]))
  expect(await node.agent.answer('redis.commands', { service: 'missing' })).toMatchObject({ refused: { code: 'redis.not-found' } })
})
