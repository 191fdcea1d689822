/** The private world of a development cluster leaves nothing behind, whichever of its processes is killed. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, readdirSync, readlinkSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'

const probe = spawnSync('unshare', ['--user', '--map-root-user', '--mount', '--net', '--pid', '--fork', 'sh', '-c', 'command -v ip setpriv nsenter'])
const forbidden = probe.status === 0 ? '' : 'needs user namespaces, ip, setpriv and nsenter'
const GONE_TIMEOUT_MS = 5000

interface Held {
  supervisor: number
  inside: number
  pidNamespace: string
}

/** Processes in a pid namespace, seen from outside. */
function inhabitants(pidNamespace: string): number {
  return readdirSync('/proc').filter((entry) => {
    try {
      return /^\d+$/.test(entry) && readlinkSync(`/proc/${entry}/ns/pid`) === pidNamespace
    } catch {
      return false
    }
  }).length
}

function parentOf(pid: number): number {
  return Number(/PPid:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
}

async function until(condition: () => boolean): Promise<boolean> {
  const deadlineMs = performance.now() + GONE_TIMEOUT_MS
  while (!condition()) {
    if (performance.now() > deadlineMs) return false
    await delay(10)
  }
  return true
}

const victims = {
  supervisor: ({ supervisor }: Held) => supervisor,
  unshare: ({ inside }: Held) => parentOf(inside),
  'process 1': ({ inside }: Held) => inside,
  nobody: () => 0,
}

test.skipIf(forbidden).each(Object.entries(victims))(`killing %s ends everything ${forbidden}`, async (_name, victim) => {
  const holder = spawn(process.execPath, [new URL('../support/world-holder.ts', import.meta.url).pathname], { stdio: ['pipe', 'pipe', 'inherit'] })
  try {
    const [line] = (await once(holder.stdout, 'data')) as [Buffer]
    const held = JSON.parse(line.toString()) as Held
    expect(await until(() => inhabitants(held.pidNamespace) >= 7), 'process 1, two shells, four sleepers').toBe(true)
    const pid = victim(held)
    if (pid > 0) process.kill(pid, 'SIGKILL')
    else {
      holder.stdin.write('close\n')
      const [answer] = (await once(holder.stdout, 'data')) as [Buffer]
      expect(answer.toString()).toBe('closed\n')
      // Nothing is waited for here: close() has promised that all is gone.
      expect(inhabitants(held.pidNamespace)).toBe(0)
    }
    expect(await until(() => inhabitants(held.pidNamespace) === 0)).toBe(true)
  } finally {
    const ended = once(holder, 'exit')
    if (holder.exitCode === null && holder.signalCode === null) {
      holder.kill('SIGKILL')
      await ended
    }
  }
})
