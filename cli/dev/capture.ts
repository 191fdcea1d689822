/**
 * What passes on some interfaces for a while: how much of what kind, and how many frames hold a given text in the clear.
 * A program of its own, which runs in the network namespace of a region's router.
 *
 *   node capture.ts <ms> <port of the backbone> <text, or nothing> to-ams to-gru
 * prints a line of JSON: what came in by each interface, which is all that the other end has sent.
 */
import { asNearcastError } from '../../lib/errors.ts'
import { MAX_FRAME_BYTES, PacketSocket, ReadableWait } from '../../lib/kernel/packet-socket.ts'
import { frameKind } from './frame-kind.ts'

/** struct virtio_net_hdr stands before each frame. */
const VNET_HEADER_BYTES = 10

interface Captured {
  readonly interface: string
  readonly kinds: Record<string, { packets: number; bytes: number }>
  marked: number
}

function capture(forMs: number, backbonePort: number, mark: string, interfaces: readonly string[]): Captured[] {
  const ends = interfaces.map((name) => ({ socket: new PacketSocket(name), found: { interface: name, kinds: {}, marked: 0 } as Captured }))
  const readable = new ReadableWait(ends.map(({ socket }) => socket.fd))
  const buffer = Buffer.alloc(MAX_FRAME_BYTES)
  const endMs = performance.now() + forMs
  for (let leftMs = forMs; leftMs > 0; leftMs = endMs - performance.now()) {
    readable.wait(leftMs)
    for (const { socket, found } of ends) {
      for (let bytes = socket.receive(buffer); bytes > 0 && performance.now() < endMs; bytes = socket.receive(buffer)) {
        const frame = buffer.subarray(VNET_HEADER_BYTES, bytes)
        const kind = (found.kinds[frameKind(frame, backbonePort)] ??= { packets: 0, bytes: 0 })
        kind.packets++
        kind.bytes += frame.length
        if (mark !== '' && frame.includes(mark)) found.marked++
      }
    }
  }
  for (const { socket } of ends) socket.close()
  return ends.map(({ found }) => found)
}

try {
  const [forMs, port, mark = '', ...interfaces] = process.argv.slice(2)
  process.stdout.write(`${JSON.stringify(capture(Number(forMs), Number(port), mark, interfaces))}\n`)
} catch (error) {
  const { code, message } = asNearcastError(error)
  process.stderr.write(`${code}: ${message}\n`)
  process.exitCode = 1
}
