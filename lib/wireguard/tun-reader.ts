/**
 * The thread that waits for packets of a TUN interface (kernel-tun.ts starts it): libuv can't. It looks up from its wait
 * when the other descriptor becomes readable, and now and then, so that a process can end at any time.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { ReadableWait } from '../kernel/packet-socket.ts'
import { readTun } from '../kernel/tun-device.ts'
import { TunRing } from './tun-ring.ts'

export interface TunReaderData {
  readonly fd: number
  readonly stopFd: number
  readonly memory: SharedArrayBuffer
  readonly maxPacketBytes: number
}

const LOOK_UP_MS = 250

function read({ fd, stopFd, memory, maxPacketBytes }: TunReaderData, tell: () => void): void {
  const ring = TunRing.over(memory)
  const buffer = new Uint8Array(maxPacketBytes)
  const readable = new ReadableWait([fd, stopFd])
  while (!ring.isStopped) {
    if (!ring.hasRoom(LOOK_UP_MS)) continue
    const bytes = readTun(fd, buffer)
    if (bytes < 0) return
    if (bytes > 0) {
      ring.put(buffer.subarray(0, bytes))
      if (ring.mustTell()) tell()
    } else readable.wait(LOOK_UP_MS)
  }
}

if (parentPort !== null) {
  const port = parentPort
  read(workerData as TunReaderData, () => port.postMessage(null))
}
