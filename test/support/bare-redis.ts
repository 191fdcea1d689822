/** A plain redis-server without anything of ours, on a Unix socket: what the agent's parts are compared with. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ENGINE_SERVER } from './engine-server.ts'
import { until } from './until.ts'

export interface BareRedis {
  readonly socket: string
  close(): Promise<void>
}

export async function startBareRedis(...words: string[]): Promise<BareRedis> {
  const directory = mkdtempSync(join(tmpdir(), 'nearcast-bare-'))
  const socket = join(directory, 'redis.sock')
  const child = spawn(ENGINE_SERVER, ['--port', '0', '--unixsocket', socket, '--save', '', '--dir', directory, '--enable-debug-command', 'yes', ...words], { stdio: 'ignore' })
  const ended = once(child, 'exit')
  let listens = false
  const knock = (): void => {
    const probe = connect({ path: socket }, () => {
      listens = true
      probe.destroy()
    })
    probe.on('error', () => setTimeout(knock, 5))
  }
  knock()
  await until('redis-server listens', () => listens)
  return {
    socket,
    async close() {
      child.kill('SIGKILL')
      await ended
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** Sends, and takes what comes back until `whole` says that it is all, or the engine closes. */
export async function talk(place: string | { port: number }, words: string | Buffer | Buffer[], whole: (received: Buffer) => boolean): Promise<Buffer> {
  const wire = connect(typeof place === 'string' ? { path: place } : { host: '127.0.0.1', ...place })
  let received = Buffer.alloc(0)
  let over = false
  wire.on('data', (chunk: Buffer) => (received = Buffer.concat([received, chunk])))
  wire.on('error', () => (over = true))
  wire.on('close', () => (over = true))
  for (const part of Array.isArray(words) ? words : [words]) {
    wire.write(part)
    // On its way by itself.
    if (Array.isArray(words)) await new Promise((resolve) => setImmediate(resolve))
  }
  await until('the replies', () => over || whole(received))
  wire.destroy()
  return received
}
