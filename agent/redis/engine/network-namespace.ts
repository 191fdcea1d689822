/** The network namespace that an engine has of its own. */
import { readlinkSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { NearcastError } from '../../../lib/errors.ts'
import type { EngineRun } from './run.ts'

const TIMEOUT_MS = 2000
const POLL_MS = 1

/** `/proc/<pid>/ns/net` once that isn't ours any more. @throws NearcastError redis.crashed */
export async function ownNamespace(engine: EngineRun): Promise<string> {
  const path = `/proc/${engine.pid}/ns/net`
  const ours = readlinkSync('/proc/self/ns/net')
  const deadlineMs = performance.now() + TIMEOUT_MS
  while (!engine.over && performance.now() < deadlineMs) {
    const theirs = linkOf(path)
    if (theirs !== null && theirs !== ours) return path
    await delay(POLL_MS)
  }
  throw new NearcastError('redis.crashed', 'The engine never entered its own network namespace.')
}

function linkOf(path: string): string | null {
  try {
    return readlinkSync(path)
  } catch {
    return null
  }
}
