/**
 * Whether this system lets a user make namespaces, tried rather than read from settings, and where it doesn't, the one
 * command that would allow it.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { NearcastError } from '../../lib/errors.ts'
import type { Support } from '../../lib/kernel/ffi.ts'

/** The switches that distributions have, with the value that forbids and the command that allows. */
const SWITCHES = [
  { file: 'kernel/unprivileged_userns_clone', forbids: '0', command: 'sudo sysctl -w kernel.unprivileged_userns_clone=1' },
  { file: 'kernel/apparmor_restrict_unprivileged_userns', forbids: '1', command: 'sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0' },
  { file: 'user/max_user_namespaces', forbids: '0', command: 'sudo sysctl -w user.max_user_namespaces=15000' },
] as const

export function probeUserNamespaces(): Support {
  const tried = spawnSync('unshare', ['--user', '--map-root-user', '--mount', '--net', '--pid', '--fork', 'mount', '-t', 'tmpfs', 'tmpfs', '/run'], { timeout: 10_000 })
  if (tried.error !== undefined) return { answer: 'unknown', reason: tried.error.message }
  return tried.status === 0 ? { answer: 'yes' } : { answer: 'no', reason: tried.stderr.toString().trim() }
}

/** `read` gives the value of a file of /proc/sys, or null. */
export function userNamespaceAdvice(read: (file: string) => string | null): string {
  const closed = SWITCHES.find(({ file, forbids }) => read(file) === forbids)
  if (closed !== undefined) return `allow it with: ${closed.command}`
  return 'in a container, start that with: docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --cap-add SYS_ADMIN --cap-add NET_ADMIN'
}

/** @throws NearcastError dev.user-namespaces, one sentence with the command. */
export function requireUserNamespaces(): void {
  const support = probeUserNamespaces()
  if (support.answer === 'yes') return
  const advice = userNamespaceAdvice((file) => {
    try {
      return readFileSync(`/proc/sys/${file}`, 'utf8').trim()
    } catch {
      return null
    }
  })
  throw new NearcastError('dev.user-namespaces', `This system forbids user namespaces, which the cluster is made of (${support.reason}); ${advice}`)
}
