/**
 * Both ends of one bulk transfer in a thread of their own, so that the plane under test has its core to itself:
 * each end sends the same amount at full speed, and counts and checksums (CRC-32) what it sends and receives.
 */
/* oxlint-disable unicorn/require-post-message-target-origin -- threads have no origin */
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads'
import { crc32 } from 'node:zlib'
import type { DialTarget, ListenTarget } from '../../lib/plane/plane.ts'
import { Wires } from './wires.ts'
import type { End, Transport } from './wires.ts'

const CHUNK_BYTES = 256 * 1024

export interface BulkReport {
  readonly received: { readonly client: number; readonly upstream: number }
  readonly checksums: { readonly clientSent: number; readonly clientReceived: number; readonly upstreamSent: number; readonly upstreamReceived: number }
}

type FromWorker = { readonly target: DialTarget } | { readonly report: BulkReport }

export interface BulkPeer {
  readonly target: DialTarget
  readonly report: Promise<BulkReport>
  connect(port: number, target: ListenTarget): void
  close(): Promise<void>
}

export async function bulkPeer(wires: Wires, bytes: number): Promise<BulkPeer> {
  const { transport, proxyTls, agentTls } = wires
  const worker = new Worker(new URL(import.meta.url), { workerData: { transport, proxyTls, agentTls, bytes } })
  const { promise: report, resolve: reported, reject } = Promise.withResolvers<BulkReport>()
  const target = await new Promise<DialTarget>((resolve) => {
    worker.on('message', (message: FromWorker) => ('target' in message ? resolve(message.target) : reported(message.report)))
    worker.on('error', reject)
  })
  return {
    target,
    report,
    connect: (port, listening) => worker.postMessage({ port, listening }),
    close: async () => void (await worker.terminate()),
  }
}

interface Work extends Pick<Wires, 'proxyTls' | 'agentTls'> {
  readonly transport: Transport
  readonly bytes: number
}

/** Different bytes at different places, so that a lost, doubled or swapped chunk shows. */
async function transfer(end: End, bytes: number, seed: number): Promise<{ sent: number; received: number; receivedBytes: number }> {
  const { socket } = end
  let received = 0
  let receivedBytes = 0
  socket.removeAllListeners('data').on('data', (chunk: Buffer) => {
    received = crc32(chunk, received)
    receivedBytes += chunk.length
  })
  let sent = 0
  for (let offset = 0; offset < bytes; offset += CHUNK_BYTES) {
    const chunk = Buffer.alloc(CHUNK_BYTES, seed)
    chunk.writeUInt32BE(offset / CHUNK_BYTES, 0)
    sent = crc32(chunk, sent)
    if (!socket.write(chunk)) await new Promise((resolve) => socket.once('drain', resolve))
  }
  const ended = end.ended ? Promise.resolve() : new Promise((resolve) => socket.once('end', resolve))
  socket.end()
  await ended
  return { sent, received, receivedBytes }
}

async function work({ transport, proxyTls, agentTls, bytes }: Work): Promise<void> {
  const wires = new Wires(transport, proxyTls && agentTls && { proxy: proxyTls, agent: agentTls })
  const { promise: upstreamDone, resolve } = Promise.withResolvers<Awaited<ReturnType<typeof transfer>>>()
  const target = await wires.server((end) => resolve(transfer(end, bytes, 2)))
  parentPort?.postMessage({ target })
  const { port, listening } = await new Promise<{ port: number; listening: ListenTarget }>((found) => parentPort?.once('message', found))
  const client = await wires.client({ port }, listening)
  const [down, up] = await Promise.all([transfer(client, bytes, 1), upstreamDone])
  const report: BulkReport = {
    received: { client: down.receivedBytes, upstream: up.receivedBytes },
    checksums: { clientSent: down.sent, clientReceived: down.received, upstreamSent: up.sent, upstreamReceived: up.received },
  }
  // First: the thread is ended as soon as it has reported.
  wires.close()
  parentPort?.postMessage({ report })
}

if (!isMainThread && workerData) await work(workerData as Work)
