/**
 * Running out of descriptors or of room for the log ended a program or made it stand still: a spawn that fails for want of
 * descriptors has no streams, a server without a listener for errors throws what accept met, a log that couldn't be written
 * was tried for ever. Each in a process of its own, because each would have ended this one.
 */
import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { expect, test } from 'vitest'

const AT = new URL('../../', import.meta.url).href
const USE_UP = `import { openSync } from 'node:fs'
const held = []
const useUp = () => { try { for (;;) held.push(openSync('/dev/null', 'r')) } catch {} }
`

/** @returns what it said on standard error, behind its exit code. Ended after 10 s. */
async function run(script: string, stdout: number | 'ignore' = 'ignore'): Promise<string> {
  const command = 'ulimit -n 128; exec "$0" --input-type=module --eval "$1"'
  const child = spawn('sh', ['-c', command, process.execPath, script], { stdio: ['ignore', stdout, 'pipe'], timeout: 10_000, killSignal: 'SIGKILL' })
  let said = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (said += text))
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) => child.on('close', (...end) => resolve(end)))
  return `${signal ?? code}: ${said}`
}

test('no descriptors left: a command of the host is an error', async () => {
  const said = await run(`${USE_UP}
    import { runCommand } from '${AT}lib/host-command.ts'
    useUp()
    await runCommand('ip', ['-V']).catch(({ code }) => process._rawDebug(code))
    setTimeout(() => process._rawDebug('alive'), 50)`)
  expect(said).toBe('0: host.failed\nalive\n')
})

test('no descriptors left: an engine that cannot be started has ended', async () => {
  const said = await run(`${USE_UP}
    import { EngineProcess } from '${AT}agent/redis/engine/process.ts'
    useUp()
    const walls = { server: '/bin/true', version: '7', network: false, uid: false, capabilities: false, cgroup: null, missing: [] }
    const engine = new EngineProcess(walls, { lockFile: '/tmp/x', data: '/', socket: '/x', uid: null })
    process._rawDebug((await engine.exited).reason)`)
  expect(said).toBe('0: redis.crashed\n')
})

test('no descriptors left: a server goes on listening', async () => {
  const said = await run(`${USE_UP}
    import { createServer, connect } from 'node:net'
    import { listenOn, parseListen } from '${AT}lib/listen.ts'
    const server = createServer((socket) => socket.end('hello'))
    const port = await listenOn(server, parseListen('127.0.0.1:0'))
    server.emit('error', Object.assign(new Error('accept EMFILE'), { code: 'EMFILE' }))
    connect(port, '127.0.0.1').on('data', (text) => { process._rawDebug(String(text)); process.exit(0) })`)
  expect(said).toBe('0: hello\n')
})

test('a full disk under the log costs lines, not the program', async () => {
  const full = openSync('/dev/full', 'w')
  try {
    const said = await run(`import { createLogger } from '${AT}lib/log.ts'
      const log = createLogger('test')
      log.info('one')
      setTimeout(() => { log.info('two'); process._rawDebug('alive') }, 10)`, full)
    expect(said).toBe('0: alive\n')
  } finally {
    closeSync(full)
  }
})
