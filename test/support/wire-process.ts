/**
 * A bare TCP connection as a process, for where only a process can be put (an app host).
 *   node wire-process.ts <host> <port>
 * Lines on standard input are JSON: {"send":"text"}, {"end":true}, {"reset":true}. What happens is told the same way on
 * standard output: connect, data, end (the peer's half is closed), error, close.
 */
import { connect } from 'node:net'
import { createInterface } from 'node:readline'

export interface WireEvent {
  readonly event: 'connect' | 'data' | 'end' | 'error' | 'close'
  readonly text?: string
  readonly code?: string
}

export type WireCommand = { readonly send: string } | { readonly end: true } | { readonly reset: true }

function tell(event: WireEvent): void {
  process.stdout.write(`${JSON.stringify(event)}\n`)
}

if (import.meta.main) {
  const [host = '', port] = process.argv.slice(2)
  const socket = connect({ host, port: Number(port), allowHalfOpen: true })
  socket.on('connect', () => tell({ event: 'connect' }))
  socket.on('data', (chunk: Buffer) => tell({ event: 'data', text: chunk.toString('latin1') }))
  socket.on('end', () => tell({ event: 'end' }))
  socket.on('error', (error: NodeJS.ErrnoException) => tell({ event: 'error', code: error.code ?? error.message }))
  socket.on('close', () => {
    tell({ event: 'close' })
    process.stdin.destroy()
  })
  createInterface({ input: process.stdin })
    .on('line', (line) => {
      const command = JSON.parse(line) as WireCommand
      if ('send' in command) socket.write(command.send, 'latin1')
      else if ('end' in command) socket.end()
      else socket.resetAndDestroy()
    })
    .on('close', () => socket.destroy())
}
