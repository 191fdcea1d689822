/** What the end of a step of the demo means, and that of a cluster that doesn't start. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { DemoCluster } from '../../cli/demo/cluster.ts'
import { verdict } from '../../cli/demo/demo.ts'
import { Skipped } from '../../cli/demo/step.ts'

test('a step holds, fails with a sentence, or is skipped with its reason and fails nobody', () => {
  expect(verdict(null)).toEqual({ ok: true })
  expect(verdict(new Error('No PONG.'))).toEqual({ ok: false, error: 'No PONG.' })
  expect(verdict(new Skipped('PostgreSQL is not installed.'))).toEqual({ ok: true, skipped: 'PostgreSQL is not installed.' })
})

test('a cluster that does not start ends the demo with what it said', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'nearcast-demo-'))
  const entry = join(directory, 'entry.mjs')
  writeFileSync(entry, `console.log('{"error":{"code":"dev.failed","message":"mad-1 did not get ready."}}'); console.error('dev.failed: mad-1 did not get ready.'); process.exitCode = 1`)
  try {
    await expect(DemoCluster.start(entry, () => {})).rejects.toThrow("The cluster didn't start: dev.failed: mad-1 did not get ready.")
  } finally {
    rmSync(directory, { recursive: true })
  }
})
