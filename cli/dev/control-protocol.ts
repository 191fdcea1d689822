/**
 * How CLI commands find and steer a running cluster: one JSON line each way over an abstract Unix socket, which leaves no
 * file. Its name carries the uid, but a name proves nothing (anybody may bind it first): both ends check the other's uid.
 */
import { z } from 'zod'
import { NearcastError } from '../../lib/errors.ts'
import type { Socket } from 'node:net'
import { peerCredentials } from '../../lib/kernel/peer-credentials.ts'
import { VERBS } from './kept-program.ts'

export const MAX_LINE_BYTES = 1 << 20

const target = z.string().min(1).max(100)

export const controlRequest = z.discriminatedUnion('operation', [
  z.object({ operation: z.literal('info') }),
  z.object({ operation: z.literal('status') }),
  z.object({ operation: z.literal('down') }),
  z.object({ operation: z.literal('steer'), target, verb: z.enum(VERBS) }),
  z.object({ operation: z.literal('break'), target, on: z.boolean() }),
  z.object({ operation: z.literal('link'), link: target, change: z.union([z.object({ rttMs: z.number().min(0).max(10_000) }), z.enum(['drop', 'restore'])]) }),
  z.object({ operation: z.literal('blackhole'), target, on: z.boolean() }),
  /** Ends every fault that was asked for, or one target's: stopped and paused programs, crash loops, blackholes, cut lines. */
  z.object({ operation: z.literal('restore'), target: target.optional() }),
  z.object({ operation: z.literal('names'), org: target }),
  /** Longer than a request may take it can't be. */
  z.object({ operation: z.literal('capture'), seconds: z.number().min(0.1).max(8), text: z.string().max(100).regex(/^[A-Za-z0-9-]*$/) }),
])
export type ControlRequest = z.infer<typeof controlRequest>

export type ControlAnswer = { readonly ok: true; readonly result: unknown } | { readonly ok: false; readonly code: string; readonly message: string }

/** @throws NearcastError cli.usage */
export function controlSocket(cluster: string, uid = process.getuid?.() ?? 0): string {
  if (!/^[a-z0-9][a-z0-9-]{0,30}$/.test(cluster)) {
    throw new NearcastError('cli.usage', `"${cluster}" can't name a cluster; use 1 to 31 lower-case letters, digits and hyphens.`)
  }
  return `${socketPrefix(uid)}${cluster}`
}

function socketPrefix(uid: number): string {
  return `\0nearcast/${uid}/`
}

/** Names of this user's clusters, read from the text of /proc/net/unix. */
export function clustersAmong(unixSockets: string, uid = process.getuid?.() ?? 0): string[] {
  const prefix = socketPrefix(uid).replace('\0', '@')
  const paths = unixSockets.split('\n').map((line) => line.split(' ').at(-1) ?? '')
  return [...new Set(paths.filter((path) => path.startsWith(prefix)).map((path) => path.slice(prefix.length)))].toSorted()
}

/** True when the process at the other end of this Unix socket runs as the same user. */
export function isSameUser(socket: Socket): boolean {
  // Node has no interface for a socket's descriptor; _handle.fd has been there since its beginnings.
  const { _handle: handle } = socket as Socket & { _handle?: { readonly fd?: number } }
  return handle?.fd !== undefined && handle.fd >= 0 && peerCredentials(handle.fd).uid === process.getuid?.()
}
