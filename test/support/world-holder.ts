/** Opens a world with a few processes in it and holds it: what test/interop/dev-world.test.ts kills. Prints one JSON line. */
import { listenTcp } from '../../lib/kernel/listen.ts'
import { World } from '../../cli/dev/world.ts'

const listening = listenTcp('127.0.0.1', 0)
const world = await World.open([listening.fd])
await world.call('script', { text: 'ip netns add somewhere\n' })
for (const id of ['one', 'two']) {
  // Each starts a child of its own, which would survive its parent.
  const command: [string, ...string[]] = ['sh', '-c', 'sleep 1000 & sleep 1000']
  await world.call('keep', { program: { id, namespace: 'somewhere', command, env: { PATH: process.env['PATH'] ?? '' }, logFile: `/run/nearcast/${id}.log` } })
}
const inside = (await world.call('script', { text: 'readlink /proc/1/ns/pid' })).trim()
process.stdout.write(`${JSON.stringify({ supervisor: process.pid, inside: world.insidePid, pidNamespace: inside })}\n`)
process.stdin.on('data', () => void world.close().then(() => process.stdout.write('closed\n')))
