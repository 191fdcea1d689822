/** redis-benchmark as a load: so many requests as fast as they are answered, from so many connections. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { ADDRESS } from './world.ts'
import type { RunningPeer } from './peers/peer.ts'

const TIMEOUT_MS = 120_000

export interface Load {
  readonly connections: number
  readonly requests: number
  /** false: a new connection for each request. Default true. */
  readonly keepAlive?: boolean
  /** Default: GET of a missing key, as `-t get` does. */
  readonly command?: readonly string[]
}

/** @throws Error when it fails: no measurement is better than a wrong one. */
export async function load({ host = ADDRESS, port, password }: Pick<RunningPeer, 'port' | 'password'> & { readonly host?: string }, { connections, requests, keepAlive = true, command }: Load): Promise<void> {
  const words = [
    '-h', host, '-p', String(port), '-c', String(connections), '-n', String(requests), '-k', keepAlive ? '1' : '0', '-q',
    ...(password === undefined ? [] : ['-a', password]),
    ...(command ?? ['-t', 'get']),
  ]
  const { stdout, stderr } = await promisify(execFile)('redis-benchmark', words, { timeout: TIMEOUT_MS, killSignal: 'SIGKILL' })
  // It ends with 0 after errors, too.
  if (!/requests per second/.test(stdout)) throw new Error(`redis-benchmark measured nothing: ${stderr || stdout}`)
}
