/** What systemd is told: read from a real datagram socket, by a program that has one (socat or Python), at a path and in the abstract. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, test } from 'vitest'
import { tellServiceManager } from '../../lib/kernel/service-manager.ts'
import { announceReady, Lifecycle } from '../../lib/lifecycle.ts'

const LISTENER = `
import socket, sys
place = sys.argv[1]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.settimeout(10)
s.bind('\\0' + place[1:] if place.startswith('@') else place)
print('bound', flush=True)
for _ in range(2): print(s.recv(100).decode(), flush=True)
`
const missing = spawnSync('python3', ['--version']).error !== undefined

test.skipIf(missing)(`ready, then stopping${missing ? ' (python3 is not installed)' : ''}`, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'nearcast-notify-'))
  const before = process.env['NOTIFY_SOCKET']
  try {
    for (const place of [join(directory, 'notify'), `@nearcast-test-${process.pid}`]) {
      const listener = spawn('python3', ['-c', LISTENER, place], { stdio: ['ignore', 'pipe', 'inherit'] })
      const lines: string[] = []
      const output = createInterface(listener.stdout).on('line', (line) => lines.push(line))
      await once(output, 'line')
      process.env['NOTIFY_SOCKET'] = place
      const lifecycle = new Lifecycle()
      announceReady(lifecycle)
      expect(lifecycle.state).toBe('ready')
      expect(await lifecycle.stop()).toEqual([])
      expect(await once(listener, 'close')).toEqual([0, null])
      expect(lines).toEqual(['bound', 'READY=1', 'STOPPING=1'])
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
