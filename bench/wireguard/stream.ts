/**
 * One TCP stream, as two processes: `sink host port pid…` takes it, counts what comes in a while after the first moment, with
 * the processor time of these processes, and prints both; `source host port` sends for as long as it is taken.
 */
import { connect, createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { cpuTime } from '../process-usage.ts'

export interface StreamResult {
  readonly mbitPerSecond: number
  readonly cpuUsPerMbit: number
}

const WARM_UP_MS = 500
const CHUNK_BYTES = 256 << 10
const READ_BYTES = 256 << 10

const [role = '', host = '', port = '', measureMs = '', pid = ''] = process.argv.slice(2)
if (role === 'sink') sink()
else source()

function sink(): void {
  let bytes = 0
  const onread = { buffer: Buffer.alloc(READ_BYTES), callback: (count: number) => ((bytes += count), true) }
  // Who dials can be given a buffer to read into, which costs least.
  const socket = connect({ host, port: Number(port), onread })
  socket.once('connect', () => {
    void measure().then((result) => {
      process.stdout.write(`${JSON.stringify(result)}\n`)
      process.exit()
    })
  })
  socket.on('error', (error) => {
    process.stderr.write(`${error.message}\n`)
    process.exit(1)
  })

  async function measure(): Promise<StreamResult> {
    await delay(WARM_UP_MS)
    const [startBytes, startMs, start] = [bytes, performance.now(), cpuTime([Number(pid)])]
    await delay(Number(measureMs))
    const [endBytes, endMs, end] = [bytes, performance.now(), cpuTime([Number(pid)])]
    const mbit = ((endBytes - startBytes) * 8) / 1e6
    return { mbitPerSecond: mbit / ((endMs - startMs) / 1000), cpuUsPerMbit: (end.totalUs - start.totalUs) / mbit }
  }
}

function source(): void {
  const chunk = Buffer.alloc(CHUNK_BYTES)
  const server = createServer((socket) => {
    const more = (): void => {
      while (socket.write(chunk));
    }
    socket.on('drain', more)
    socket.on('error', () => process.exit())
    socket.on('close', () => process.exit())
    more()
  })
  server.listen(Number(port), host, () => process.stdout.write('listening\n'))
}
