/**
 * A server whose kernel drops every further SYN: its accept queue is full and its process sleeps.
 */
import { spawn } from 'node:child_process'
import { connect } from 'node:net'
import type { Socket } from 'node:net'

const PROGRAM = `
const server = require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
  require('node:fs').writeSync(1, server.address().port + '\\n')
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
})`

export async function deafServer(): Promise<{ port: number; close(): void }> {
  const child = spawn(process.execPath, ['-e', PROGRAM], { stdio: ['ignore', 'pipe', 'inherit'] })
  const port = await new Promise<number>((resolve, reject) => {
    child.stdout.once('data', (line: Buffer) => resolve(Number(line)))
    child.once('exit', () => reject(new Error('The deaf server ended.')))
  })
  const fillers: Socket[] = []
  for (let count = 0; count < 4; count++) fillers.push(connect({ port, host: '127.0.0.1' }).on('error', () => undefined))
  await new Promise((resolve) => fillers[0]?.once('connect', resolve))
  return {
    port,
    close() {
      for (const filler of fillers) filler.destroy()
      child.kill('SIGKILL')
    },
  }
}
