/** lib/kernel against the kernel itself. What needs privileges runs in a namespace of its own, and is skipped, saying why, where that is forbidden. */
import { closeSync, readFileSync } from 'node:fs'
import { createConnection, createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { once } from 'node:events'
import { execFile, spawn, spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { tmpdir } from 'node:os'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { check, errnoName, probeFfi, systemCalls } from '../../lib/kernel/ffi.ts'
import { lockFile } from '../../lib/kernel/file-lock.ts'
import { ProcessHandle } from '../../lib/kernel/process-handle.ts'
import { listenTcp } from '../../lib/kernel/listen.ts'
import { peerCredentials } from '../../lib/kernel/peer-credentials.ts'
import { processorMs, setPatience } from '../../lib/kernel/scheduling.ts'
import { networkInterfaceIndex } from '../../lib/kernel/interface-index.ts'
import { decodeSocketAddress, encodeSocketAddress } from '../../lib/kernel/socket-address.ts'

const run = promisify(execFile)
const inPrivateNamespace = ['--user', '--map-root-user', '--net', '--mount', '--pid', '--fork', '--mount-proc', '--kill-child']
const namespaces = spawnSync('unshare', [...inPrivateNamespace, 'true'])
const forbidden = namespaces.status === 0 ? false : `user namespaces: ${namespaces.stderr?.toString().trim() ?? 'no unshare'}`

/** Runs a module in a private namespace, with the modules of lib/kernel at hand as `kernel/…`. */
async function inside(source: string): Promise<string> {
  const code = source.replaceAll("'kernel/", `'${new URL('../../lib/kernel/', import.meta.url).href}`)
  const { stdout } = await run('unshare', [...inPrivateNamespace, process.execPath, '--input-type=module', '-e', code], { timeout: 15_000 })
  return stdout.trim()
}

test('the FFI is there, and failures carry the errno', () => {
  expect(probeFfi()).toEqual({ answer: 'yes' })
  const result = systemCalls().socket(-1, 1, 0)
  expect(errnoName(result)).toBe('EAFNOSUPPORT')
  expect(() => check(result, 'socket')).toThrowError(expect.objectContaining({ code: 'kernel.call-failed', message: 'socket: EAFNOSUPPORT.' }))
})

test('socket addresses survive both ways and names are refused', () => {
  for (const [host, port] of [['127.0.0.1', 1], ['::1', 65535], ['fdaa:0:1:0:1::3', 6379], ['255.254.1.0', 0]] as const) {
    expect(decodeSocketAddress(encodeSocketAddress(host, port).bytes)).toEqual({ host, port })
  }
  for (const host of ['localhost', '1.2.3', '256.1.1.1', '::g', '']) {
    expect(() => encodeSocketAddress(host, 1)).toThrowError(expect.objectContaining({ code: 'address.invalid' }))
  }
})

test('a process of ours is patient, and is not; how long it has been busy; of nobody neither', async () => {
  const busy = spawn('sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' })
  const pid = busy.pid ?? 0
  const policy = (): string | undefined => readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\) /s, '').split(' ')[38]
  expect([setPatience(pid, true), policy()]).toEqual([true, '3'])
  expect([setPatience(pid, false), policy()]).toEqual([true, '0'])
  const before = processorMs(pid) ?? Infinity
  await expect.poll(() => processorMs(pid), { timeout: 10_000 }).toBeGreaterThan(before)
  const ended = once(busy, 'exit')
  busy.kill('SIGKILL')
  await ended
  expect([processorMs(pid), setPatience(pid, true)]).toEqual([null, false])
})

test('interface indexes', () => {
  expect(networkInterfaceIndex('lo')).toBeGreaterThan(0)
  expect(() => networkInterfaceIndex('no-such-nic')).toThrowError(/ENODEV/)
})

test('a process that is no child is held: its end is seen, a signal reaches it, and nobody after it', async () => {
  const started = spawnSync('sh', ['-c', 'sleep 600 >/dev/null 2>&1 & echo $!'], { encoding: 'utf8' })
  const handle = ProcessHandle.open(Number(started.stdout))
  expect(handle?.signal('SIGTERM')).toBe(true)
  await handle?.ended
  expect(handle?.signal('SIGTERM')).toBe(false)
  expect(ProcessHandle.open(0x3fff_ffff)).toBeNull()
})

test('a locked file has one holder, until that one lets go', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'nearcast-lock-'))
  try {
    const held = lockFile(join(directory, 'lock'))
    expect(held?.isOpen).toBe(true)
    expect(lockFile(join(directory, 'lock'))).toBeNull()
    held?.close()
    const next = lockFile(join(directory, 'lock'))
    expect(next?.isOpen).toBe(true)
    next?.close()
  } finally {
    await rm(directory, { recursive: true })
  }
})

async function accepts(server: Server, port: number, host: string): Promise<string> {
  const socket = createConnection({ port, host })
  const [[accepted]] = await Promise.all([once(server, 'connection') as Promise<[Socket]>, once(socket, 'connect')])
  const address = accepted.localAddress ?? ''
  socket.destroy()
  accepted.destroy()
  return address
}

test.each(['127.0.0.1', '::1'])('a listening descriptor on %s serves through node:net, and a second one is refused', async (host) => {
  const listening = listenTcp(host, 0)
  expect(() => listenTcp(host, listening.port)).toThrowError(expect.objectContaining({ code: 'listen.in-use' }))
  const server = createServer().listen({ fd: listening.fd })
  await once(server, 'listening')
  expect(await accepts(server, listening.port, host)).toBe(host)
  server.close()
  await once(server, 'close')
  const again = listenTcp(host, listening.port)
  closeSync(again.fd)
})

test('a listening descriptor passed by stdio serves in a child', async () => {
  const listening = listenTcp('127.0.0.1', 0)
  const child = spawn(process.execPath, ['-e', 'require("net").createServer((s) => s.end("child")).listen({ fd: 5 })'], {
    stdio: ['ignore', 'inherit', 'inherit', 'ignore', 'ignore', listening.fd],
  })
  closeSync(listening.fd)
  try {
    const socket = createConnection(listening.port, '127.0.0.1')
    const [data] = (await once(socket, 'data')) as [Buffer]
    expect(data.toString()).toBe('child')
  } finally {
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
})

test('the peer of a Unix socket is named by the kernel', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'nearcast-'))
  const path = join(directory, 's')
  const server = createServer().listen(path)
  await once(server, 'listening')
  const child = spawn(process.execPath, ['-e', `require("net").connect(${JSON.stringify(path)})`], { stdio: 'ignore' })
  try {
    const [socket] = (await once(server, 'connection')) as [Socket & { _handle?: { fd: number } }]
    const credentials = peerCredentials(socket._handle?.fd ?? -1)
    expect(credentials).toEqual({ pid: child.pid, uid: process.getuid?.(), gid: process.getgid?.() })
    socket.destroy()
  } finally {
    child.kill('SIGKILL')
    server.close()
    await rm(directory, { recursive: true })
  }
})

test('a descriptor without a peer has no credentials', () => {
  expect(() => peerCredentials(-1)).toThrowError(expect.objectContaining({ code: 'kernel.call-failed' }))
})

test.skipIf(forbidden)(`a listener in another namespace serves there and only there ${forbidden || ''}`, async () => {
  const output = await inside(`
    import { listenInNamespace, setLoopbackUp, inNamespace } from 'kernel/namespaces.ts'
    import { networkInterfaceIndex } from 'kernel/interface-index.ts'
    import { spawn } from 'node:child_process'
    import { createServer, connect } from 'node:net'
    import { once } from 'node:events'
    import { readlinkSync } from 'node:fs'
    const home = readlinkSync('/proc/thread-self/ns/net')
    const holder = spawn('unshare', ['--net', '--', 'sh', '-c', 'echo ready; exec cat'], { stdio: ['pipe', 'pipe', 'inherit'] })
    await once(holder.stdout, 'data')
    const ns = '/proc/' + holder.pid + '/ns/net'
    const say = []
    setLoopbackUp(ns)
    setLoopbackUp('/proc/self/ns/net')
    const server = createServer((s) => s.end('inside')).listen({ fd: listenInNamespace(ns, '::1', 7777) })
    await once(server, 'listening')
    const fromThere = spawn('nsenter', ['--net=' + ns, process.execPath, '-e', 'require("net").connect(7777, "::1").on("data", (d) => console.log(String(d)))'])
    const [data] = await once(fromThere.stdout, 'data')
    say.push(String(data).trim())
    const here = connect(7777, '::1')
    const [error] = await once(here, 'error')
    say.push(error.code)
    try { inNamespace(ns, () => { throw new Error('thrown inside') }) } catch (error) { say.push(error.message) }
    try { inNamespace('/proc/1/ns/pid', () => {}) } catch (error) { say.push(error.code) }
    say.push(readlinkSync('/proc/thread-self/ns/net') === home)
    say.push(inNamespace(ns, () => readlinkSync('/proc/thread-self/ns/net') !== home && networkInterfaceIndex('lo') > 0))
    console.log(say.join(' | '))
    process.exit(0)
  `)
  expect(output).toBe('inside | ECONNREFUSED | thrown inside | kernel.call-failed | true | true')
})

test.skipIf(forbidden)(`process 1 reaps orphans, and Node keeps the exit codes of its own children ${forbidden || ''}`, async () => {
  const output = await inside(`
    import { OrphanReaper } from 'kernel/orphans.ts'
    import { spawn } from 'node:child_process'
    import { once } from 'node:events'
    import { readFileSync, readdirSync } from 'node:fs'
    import { setImmediate as turn } from 'node:timers/promises'
    const zombies = () => readdirSync('/proc').filter((pid) => /^\\d+$/.test(pid) && /\\) Z/.test(readFileSync('/proc/' + pid + '/stat', 'latin1'))).length
    const reaper = new OrphanReaper()
    const codes = []
    for (let round = 0; round < 20; round++) {
      const child = spawn('sh', ['-c', 'for i in 1 2 3; do (true &) ; done; exit ' + round])
      const exit = once(child, 'exit')
      for (let n = 0; n < 50; n++) { reaper.reap(); await turn() }
      codes.push((await exit)[0])
    }
    while (zombies() > 0) { reaper.reap(); await turn() }
    console.log(process.pid, codes.every((code, round) => code === round))
    process.exit(0)
  `)
  expect(output).toBe('1 true')
})

test('a process that asked for it ends with its parent', async () => {
  const child = new URL('../../lib/kernel/parent-death.ts', import.meta.url).href
  const grandchild = `import { dieWithParent } from '${child}'; dieWithParent('SIGKILL', process.ppid); process.stdout.write('ready'); setInterval(() => {}, 1000)`
  const parent = spawn(
    process.execPath,
    ['-e', `const c = require('child_process').spawn(process.execPath, ['--input-type=module', '-e', ${JSON.stringify(grandchild)}], { stdio: ['ignore', 'inherit', 'inherit'] }); setInterval(() => {}, 1000)`],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  await once(parent.stdout, 'data')
  parent.kill('SIGKILL')
  // The grandchild holds the other end of this pipe: it ends only when that process has ended too.
  parent.stdout.resume()
  await once(parent.stdout, 'end')
})
