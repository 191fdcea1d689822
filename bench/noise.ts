/**
 * A tenant that is no good neighbour: says one line to its database again and again, and throws the answers away.
 *   PASSWORD=… node noise.ts <address> <port> <line>
 * Prints a line for each answer; ends when it is killed, or with its connection.
 */
import { connect } from 'node:net'

const [host = '', port = '', line = ''] = process.argv.slice(2)
/** Behind each line, so that the end of its answer is known without reading it. */
const [MARK, ANSWER] = ['PING\r\n', '+PONG\r\n']

const socket = connect({ host, port: Number(port), noDelay: true })
const say = (): void => void socket.write(`${line}\r\n${MARK}`)
let tail = ''
socket.on('data', (chunk: Buffer) => {
  tail = (tail + chunk.subarray(-ANSWER.length).toString('latin1')).slice(-ANSWER.length)
  if (tail !== ANSWER) return
  process.stdout.write('answered\n')
  tail = ''
  say()
})
socket.on('error', () => process.exit(1))
socket.on('close', () => process.exit(1))
socket.write(`AUTH ${process.env['PASSWORD'] ?? ''}\r\n`)
say()
