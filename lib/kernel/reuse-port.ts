/**
 * Several listening sockets on one port, among which the kernel deals out connections (SO_REUSEPORT, socket(7)): not by a
 * hash, as it would by itself, but by what the IPv6 destination address says. A classic BPF program
 * (SO_ATTACH_REUSEPORT_CBPF) takes 32 bits of it modulo the number of sockets.
 */
import { check, systemCalls } from './ffi.ts'
import { int32 } from './listen.ts'
import { PinnedMemory } from './memory.ts'

const SOL_SOCKET = 1
const SO_REUSEPORT = 15
const SO_ATTACH_REUSEPORT_CBPF = 51
/** linux/filter.h: a word from behind the network header, modulo a constant, return. */
const [LOAD_WORD, MODULO, RETURN_A] = [0x20, 0x94, 0x16]
const SKF_NET_OFF = 0xfff0_0000
/** RFC 8200, section 3. */
const DESTINATION_OFFSET = 24
/** struct sock_filter */
const INSTRUCTION_BYTES = 8
/** struct sock_fprog */
const PROGRAM_BYTES = 16
const PAGE_BYTES = 4096

/** Before binding. @throws NearcastError kernel.call-failed */
export function reusePort(fd: number): void {
  check(systemCalls().setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, int32(1), 4), 'SO_REUSEPORT')
}

/**
 * Of one socket of the group, for all. A connection goes to the socket whose place (the order of listening) is the big-endian
 * word at byte `offset` of its destination address, modulo `count`. @throws NearcastError kernel.call-failed
 */
export function steerByDestination(fd: number, offset: number, count: number): void {
  if (!(offset >= 0 && offset <= 12)) throw new RangeError(`An address has no word at byte ${offset}.`)
  const instructions: readonly (readonly [code: number, k: number])[] = [
    [LOAD_WORD, SKF_NET_OFF + DESTINATION_OFFSET + offset],
    [MODULO, count],
    [RETURN_A, 0],
  ]
  const memory = PinnedMemory.take(PAGE_BYTES)
  try {
    const view = new DataView(memory.bytes.buffer, memory.bytes.byteOffset)
    for (const [index, [code, k]] of instructions.entries()) {
      view.setUint16(index * INSTRUCTION_BYTES, code, true)
      view.setUint32(index * INSTRUCTION_BYTES + 4, k, true)
    }
    const program = Buffer.alloc(PROGRAM_BYTES)
    program.writeUInt16LE(instructions.length, 0)
    program.writeBigUInt64LE(BigInt(memory.addressOf(0, instructions.length * INSTRUCTION_BYTES)), 8)
    check(systemCalls().setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program, program.length), 'SO_ATTACH_REUSEPORT_CBPF')
  } finally {
    memory.release()
  }
}
