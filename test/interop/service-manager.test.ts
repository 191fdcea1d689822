/** What systemd is told, read from a real datagram socket of the kernel: at a path, and in the abstract. */
import { closeSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { check, systemCalls } from '../../lib/kernel/ffi.ts'
import { tellServiceManager } from '../../lib/kernel/service-manager.ts'
import { announceReady, Lifecycle } from '../../lib/lifecycle.ts'

const AF_UNIX = 1
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000
const MSG_DONTWAIT = 0x40

/** A service manager's end. `bytes`: sun_path as it stands in the address. */
function listen(bytes: Buffer): { read(): string | null; close(): void } {
  const calls = systemCalls()
  const fd = check(calls.socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0), 'socket')
  const address = Buffer.concat([Buffer.of(AF_UNIX, 0), bytes])
  check(calls.bind(fd, address, address.length), 'bind')
  const buffer = Buffer.alloc(100)
  return {
    // A datagram is there when the sender has sent it.
    read: () => {
      const count = calls.recv(fd, buffer, buffer.length, MSG_DONTWAIT)
      return count < 0 ? null : buffer.subarray(0, count).toString()
    },
    close: () => closeSync(fd),
  }
}

test('ready, then stopping', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'nearcast-notify-'))
  const before = process.env['NOTIFY_SOCKET']
  const path = join(directory, 'notify')
  const name = `nearcast-test-${process.pid}`
  try {
    for (const [place, bytes] of [[path, Buffer.from(`${path}\0`)], [`@${name}`, Buffer.from(`\0${name}`)]] as const) {
      const manager = listen(bytes)
      try {
        process.env['NOTIFY_SOCKET'] = place
        const lifecycle = new Lifecycle()
        expect(manager.read()).toBeNull()
        announceReady(lifecycle)
        expect(lifecycle.state).toBe('ready')
        expect(manager.read()).toBe('READY=1')
        expect(manager.read()).toBeNull()
        expect(await lifecycle.stop()).toEqual([])
        expect(manager.read()).toBe('STOPPING=1')
      } finally {
        manager.close()
      }
    }
  } finally {
    if (before === undefined) delete process.env['NOTIFY_SOCKET']
    else process.env['NOTIFY_SOCKET'] = before
    rmSync(directory, { recursive: true })
  }
})

test('without a service manager, or one that is gone, nothing happens', () => {
  for (const place of [undefined, '', '/', 'vsock:2:1', 'relative', '/nonexistent/notify', `/${'x'.repeat(200)}`, '@nearcast-nobody']) {
    expect(tellServiceManager('READY=1', place === undefined ? {} : { NOTIFY_SOCKET: place })).toBe(false)
  }
})
