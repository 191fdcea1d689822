/**
 * Process 1 of the cluster's private world (user, mount, pid and network namespace): mounts its file systems, then does
 * what the supervisor asks. Everything it makes lives in these namespaces, so when it ends, however it ends, the kernel
 * removes all of it: processes, networks, routes, files.
 */
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { dirname } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { NearcastError, asNearcastError } from '../../lib/errors.ts'
import { OrphanReaper } from '../../lib/kernel/orphans.ts'
import { CrashLoops, killEngines } from './engines.ts'
import type { InsideMessage, Operation, RequestMessage, Requests } from './inside-protocol.ts'
import { NAMESPACES_DIRECTORY, RUN_DIRECTORY } from './inside-protocol.ts'
import { KeptProgram } from './kept-program.ts'

const REAP_INTERVAL_MS = 250
const TRIM_INTERVAL_MS = 5000
const READY_POLL_MS = 30

const programs = new Map<string, KeptProgram>()
const crashLoops = new CrashLoops()

type Handlers = { readonly [Name in Operation]: (ask: Requests[Name]['ask']) => Requests[Name]['answer'] | Promise<Requests[Name]['answer']> }

const handlers: Handlers = {
  script: ({ text }) => script(text),
  write: ({ files }) => {
    for (const { path, text } of files) {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
      writeFileSync(path, text, { mode: 0o600 })
    }
    return null
  },
  keep: ({ program }) => {
    mkdirSync(dirname(program.logFile), { recursive: true, mode: 0o700 })
    const kept = new KeptProgram(program)
    programs.set(program.id, kept)
    kept.start()
    return null
  },
  steer: async ({ id, verb }) => {
    await find(id).steer(verb)
    return null
  },
  tell: ({ id, line }) => {
    find(id).tell(line)
    return null
  },
  ready: async ({ id, socket, timeoutMs }) => {
    await waitReady(id, socket, timeoutMs)
    return null
  },
  shows: ({ socket, texts, timeoutMs }) => shows(socket, texts, timeoutMs),
  crashLoop: ({ directory, on }) => ({ killed: crashLoops.set(directory, on) }),
  killEngine: ({ directory }) => ({ killed: killEngines(directory) }),
  list: () => [...programs.values()].map((program) => program.status),
}

function find(id: string): KeptProgram {
  const program = programs.get(id)
  if (program === undefined) throw new NearcastError('dev.unknown-target', `There is no program ${id}; "nearcast dev status" lists them.`)
  return program
}

function script(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('sh', ['-eu'], { stdio: ['pipe', 'pipe', 'pipe'] })
    let output = ''
    let errors = ''
    child.stdout.on('data', (data: Buffer) => (output += data.toString()))
    child.stderr.on('data', (data: Buffer) => (errors += data.toString()))
    child.stdin.on('error', () => {})
    child.on('error', reject)
    child.on('close', (code) => {
      if (code === 0) resolve(output)
      else reject(new NearcastError('dev.failed', `A step of building the network failed: ${errors.trim().split('\n').slice(-3).join(' ')}`))
    })
    child.stdin.end(text)
  })
}

/** @throws NearcastError dev.failed with the reasons that it gave last. */
async function waitReady(id: string, socket: string, timeoutMs: number): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs
  let last = 'no answer'
  while (performance.now() < deadlineMs) {
    const { status, text } = await get(socket, '/readyz')
    if (status === 200) return
    last = text.trim().replaceAll('\n', '; ')
    const { state, restarts } = find(id).status
    if (state === 'restarting' && restarts >= 3) break
    await delay(READY_POLL_MS)
  }
  throw new NearcastError('dev.failed', `${id} didn't get ready: ${last}.`)
}

async function shows(socket: string, texts: readonly string[], timeoutMs: number): Promise<boolean> {
  const deadlineMs = performance.now() + timeoutMs
  while (performance.now() < deadlineMs) {
    const { status, text } = await get(socket, '/metrics')
    if (texts.every((each) => text.includes(each))) return true
    // Nobody is there: nothing to wait for.
    if (status === 0) return false
    await delay(READY_POLL_MS)
  }
  return false
}

function get(socketPath: string, path: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve) => {
    const failed = (error: Error): void => resolve({ status: 0, text: error.message })
    const asked = request({ socketPath, path, timeout: 2000 }, (response) => {
      let text = ''
      response.on('data', (data: Buffer) => (text += data.toString()))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
      response.on('error', failed)
    })
    asked.on('timeout', () => asked.destroy(new Error('no answer in time')))
    asked.on('error', failed)
    asked.end()
  })
}

function send(message: InsideMessage): void {
  process.send?.(message, undefined, undefined, () => {})
}

async function obey(message: RequestMessage): Promise<void> {
  const { number } = message
  try {
    // One handler per operation takes exactly that operation's question; the compiler can't tie the two in a union.
    const handler = handlers[message.operation] as (ask: unknown) => unknown
    send({ type: 'answer', number, answer: await handler(message.ask) })
  } catch (error) {
    const { code, message: text } = asNearcastError(error)
    send({ type: 'failure', number, code, message: text })
  }
}

function mountFileSystems(): void {
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'mode=0755', 'tmpfs', '/run'])
  if (mounted.status !== 0) throw new NearcastError('dev.failed', `Can't mount a file system in memory: ${mounted.stderr?.toString().trim()}.`)
  mkdirSync(NAMESPACES_DIRECTORY, { mode: 0o755 })
  mkdirSync(RUN_DIRECTORY, { mode: 0o700 })
  mkdirSync(`${RUN_DIRECTORY}/tmp`, { mode: 0o700 })
}

// The supervisor's end of the channel closes when it is gone, by whatever means.
process.on('disconnect', () => process.exit(0))
// Ctrl-C reaches the whole terminal group; how to end is the supervisor's decision.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
if (process.pid !== 1 || process.send === undefined) {
  process.stderr.write('cli.usage: this is a part of "nearcast dev", which starts it.\n')
  process.exit(1)
}
try {
  mountFileSystems()
  const reaper = new OrphanReaper()
  setInterval(() => reaper.reap(), REAP_INTERVAL_MS)
  setInterval(() => {
    for (const program of programs.values()) program.trimLog()
  }, TRIM_INTERVAL_MS)
  process.on('message', (message) => void obey(message as RequestMessage))
  send({ type: 'hello' })
} catch (error) {
  const { code, message } = asNearcastError(error)
  process.stderr.write(`${code}: ${message}\n`)
  process.exit(1)
}
