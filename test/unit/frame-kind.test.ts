/** What `nearcast dev capture` takes a frame for. */
import { expect, test } from 'vitest'
import { frameKind } from '../../cli/dev/frame-kind.ts'

const BACKBONE = 51_821
const TRANSPORT_DATA = [4, 0, 0, 0, ...Array.from({ length: 28 }, () => 7)]

function frame(next: number, ports: readonly [number, number], payload: readonly number[], ethertype = 0x86dd): Uint8Array {
  const bytes = new Uint8Array(14 + 40 + 8 + payload.length)
  const view = new DataView(bytes.buffer)
  view.setUint16(12, ethertype)
  bytes[14] = 0x60
  bytes[20] = next
  view.setUint16(54, ports[0])
  view.setUint16(56, ports[1])
  bytes.set(payload, 62)
  return bytes
}

test.each([
  ['a sealed packet', frame(17, [40_000, BACKBONE], TRANSPORT_DATA), 'backbone'],
  ['its answer', frame(17, [BACKBONE, 40_000], TRANSPORT_DATA), 'backbone'],
  ['a handshake', frame(17, [BACKBONE, BACKBONE], [1, 0, 0, 0, ...TRANSPORT_DATA]), 'backbone'],
  ["a peer's", frame(17, [40_000, 51_820], TRANSPORT_DATA), 'wireguard'],
  ['something else at its port', frame(17, [40_000, BACKBONE], [4, 0, 0, 1, ...TRANSPORT_DATA]), 'udp 40000'],
  ['too short for it', frame(17, [BACKBONE, BACKBONE], TRANSPORT_DATA.slice(1)), 'udp 51821'],
  ['the hop', frame(6, [50_000, 7400], [0x16, 3, 1]), 'tcp 7400'],
  ['a ping', frame(58, [0, 0], []), 'icmpv6'],
  ['another protocol', frame(47, [0, 0], []), 'other'],
  ['ARP', frame(17, [BACKBONE, BACKBONE], TRANSPORT_DATA, 0x0806), 'other'],
  ['cut', frame(17, [BACKBONE, BACKBONE], []).subarray(0, 61), 'other'],
  ['empty', new Uint8Array(0), 'other'],
])('%s', (_what, bytes, kind) => {
  expect(frameKind(bytes, BACKBONE)).toBe(kind)
})
