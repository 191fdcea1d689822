/**
 * One probe of a node: always a fresh dial, so that it proves that new connections are accepted and answered.
 *
 * Our agents answer a pong, which shows that the program runs (a stopped process still accepts: the kernel does it).
 * Foreign nodes are only dialled: v2 ones get a LOCAL header, so that a probe is no protocol error in their logs; v1 has
 * no such thing, there it is connect and close.
 */
import type { Socket } from 'node:net'
import { NearcastError } from '../errors.ts'
import type { NodeRow } from '../feed/messages.ts'
import type { DialTarget } from '../plane/plane.ts'
import { encodeV2 } from '../proxy-protocol/encode.ts'
import { dial } from './dial.ts'
import { agentFrames } from './frames.ts'
import { encodeProbe } from './header.ts'

export interface ProbeResult {
  /** From the dial until bytes could be written, TLS handshake included. */
  readonly connectMs: number
  /** Header to pong; of foreign nodes the same as connectMs. */
  readonly rttMs: number
}

/**
 * `self`: the dialer's identity, `proxy/<id>`. `timeoutMs` covers all of it.
 * @throws NearcastError hop.dial-failed, hop.timeout, hop.protocol (closed or answered without a pong).
 */
export async function probe(
  target: DialTarget,
  self: string,
  node: Pick<NodeRow, 'id' | 'hop'>,
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<ProbeResult> {
  const startMs = performance.now()
  const socket = await dial(target, timeoutMs, signal)
  const connectMs = performance.now() - startMs
  // What breaks it shows as a close without a pong; without a listener it would end the process.
  socket.on('error', () => {})
  try {
    if (node.hop === 'signed-v2') {
      socket.write(encodeProbe(self, node.id))
      await pong(socket, timeoutMs - connectMs, signal)
      return { connectMs, rttMs: performance.now() - startMs - connectMs }
    }
    if (node.hop === 'v2') socket.write(encodeV2({ command: 'local', addresses: { family: 'unspecified' } }))
    return { connectMs, rttMs: connectMs }
  } finally {
    if (node.hop === 'signed-v2') socket.destroy()
    else socket.destroySoon()
  }
}

function pong(socket: Socket, timeoutMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const reader = agentFrames()
    const fail = (code: 'hop.timeout' | 'hop.protocol' | 'hop.dial-failed', message: string): void => {
      done()
      reject(new NearcastError(code, message, { side: 'upstream', retryable: true }))
    }
    const onData = (chunk: Buffer): void => {
      const { frames, invalid } = reader.push(chunk)
      if (frames.some((frame) => frame.type === 'pong')) {
        done()
        resolve()
      } else if (invalid !== null) fail('hop.protocol', `The agent answered the probe with something else: ${invalid}.`)
    }
    const onClose = (): void => fail('hop.protocol', 'The agent closed the probe without an answer; look into its log.')
    const onAbort = (): void => fail('hop.dial-failed', 'The probe was given up.')
    const timer = setTimeout(() => fail('hop.timeout', 'The agent accepted the probe and did not answer it in time.'), Math.max(1, timeoutMs))
    const done = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      socket.off('data', onData).off('close', onClose).off('end', onClose)
    }
    signal?.addEventListener('abort', onAbort)
    socket.on('data', onData).on('close', onClose).on('end', onClose)
  })
}
