/**
 * An agent that was killed right after a database had been made started from a cache that didn't know it yet, took its
 * directory for a deleted database's and put it away. Absence from a table that may be incomplete proves nothing.
 */
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { EngineDirectories } from '../../agent/redis/engine/directory.ts'
import { Tenants } from '../../agent/tenants/tenants.ts'
import { NearcastError } from '../../lib/errors.ts'
import { QUIET } from '../support/registry.ts'

test('data of databases that a partial table lacks stays; a snapshot from the router is believed', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'nearcast-partial-'))
  try {
    mkdirSync(join(dataDir, 'dbone', 'data'), { recursive: true })
    const tenants = new Tenants({
      node: 'mad',
      table: () => ({ services: new Map() }),
      directories: new EngineDirectories(dataDir, null),
      engine: new NearcastError('redis.missing', 'No engine is needed here.'),
      log: QUIET,
      stopTimeoutMs: 1000,
      startTimeoutMs: 100,
      publish: () => {},
      retired: () => {},
      removed: () => {},
    })
    await tenants.apply('partial')
    expect(readdirSync(dataDir)).toEqual(['dbone'])
    await tenants.apply('snapshot')
    expect(readdirSync(dataDir)).toEqual(['.agent', 'removed'])
    await tenants.stop(false)
  } finally {
    rmSync(dataDir, { recursive: true })
  }
})
