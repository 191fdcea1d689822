/**
 * What waits to be sent on one socket: received buffers that move on as they are, and bytes of JavaScript's, which are
 * copied into a buffer when their turn comes. One piece is under way at a time.
 *
 * Small pieces that wait behind another are put together, and while buffers are scarce what waits is kept elsewhere: a
 * peer that takes nothing holds one buffer.
 */
import type { ProvidedBuffers } from '../../kernel/provided-buffers.ts'

/** Copying more than this costs more than another send. */
const MERGE_BYTES = 8 << 10

interface Piece {
  /** -1: in `bytes`. */
  readonly buffer: number
  readonly bytes: Uint8Array | null
  offset: number
  length: number
}

export class SendQueue {
  readonly #buffers: ProvidedBuffers
  readonly #pieces: Piece[] = []
  /** The first piece is under way. */
  #sending = false
  #dropped = false
  bytes = 0

  constructor(buffers: ProvidedBuffers) {
    this.#buffers = buffers
  }

  get sending(): boolean {
    return this.#sending
  }

  get isEmpty(): boolean {
    return this.#pieces.length === 0
  }

  push(bytes: Uint8Array): void {
    if (this.#dropped || bytes.length === 0) return
    this.bytes += bytes.length
    this.#pieces.push({ buffer: -1, bytes, offset: 0, length: bytes.length })
  }

  /** `buffer` is the queue's from here on. */
  move(buffer: number, length: number): void {
    const buffers = this.#buffers
    if (this.#dropped) return buffers.release(buffer)
    this.bytes += length
    const waiting = this.#pieces.length - (this.#sending ? 1 : 0)
    const last = waiting > 0 ? this.#pieces.at(-1) : undefined
    if (last && last.buffer >= 0 && length <= MERGE_BYTES && last.offset + last.length + length <= buffers.bufferBytes) {
      buffers.append(buffer, length, last.buffer, last.offset + last.length)
      last.length += length
      return buffers.release(buffer)
    }
    if (this.#pieces.length > 0 && buffers.scarce) {
      this.#pieces.push({ buffer: -1, bytes: buffers.copyOf(buffer, length), offset: 0, length })
      return buffers.release(buffer)
    }
    this.#pieces.push({ buffer, bytes: null, offset: 0, length })
  }

  /** What to send next, which is under way from here on: `sent` follows. 'starved': there is no buffer to copy into. */
  next(): { readonly address: number; readonly length: number } | 'starved' | null {
    const first = this.#pieces[0]
    if (!first || this.#sending) return null
    const piece = first.buffer < 0 ? this.#gather() : first
    if (!piece) return 'starved'
    this.#sending = true
    return { address: this.#buffers.addressOf(piece.buffer, piece.offset, piece.length), length: piece.length }
  }

  /** As much of JavaScript's bytes as fits into one buffer, as one piece. */
  #gather(): Piece | null {
    const buffers = this.#buffers
    const buffer = buffers.take()
    if (buffer < 0) return null
    let length = 0
    for (let piece = this.#pieces[0]; piece?.bytes && length < buffers.bufferBytes; piece = this.#pieces[0]) {
      const part = Math.min(piece.length, buffers.bufferBytes - length)
      buffers.write(buffer, length, piece.bytes.subarray(piece.offset, piece.offset + part))
      length += part
      piece.offset += part
      piece.length -= part
      if (piece.length > 0) break
      this.#pieces.shift()
    }
    const gathered: Piece = { buffer, bytes: null, offset: 0, length }
    this.#pieces.unshift(gathered)
    return gathered
  }

  /** What was under way has ended, with so many bytes sent. */
  sent(bytes: number): void {
    this.#sending = false
    const piece = this.#pieces[0]
    if (!piece) return
    this.bytes -= bytes
    piece.offset += bytes
    piece.length -= bytes
    if (this.#dropped) return this.#release()
    if (piece.length > 0) return
    this.#pieces.shift()
    this.#buffers.release(piece.buffer)
  }

  /** What waits is kept outside of buffers from here on; what is under way is as soon as it has ended. */
  yieldBuffers(): void {
    for (const [index, piece] of this.#pieces.entries()) if (index > 0 || !this.#sending) this.#pieces[index] = this.#outside(piece)
  }

  #outside(piece: Piece): Piece {
    if (piece.buffer < 0) return piece
    const { offset, length } = piece
    const bytes = this.#buffers.copyOf(piece.buffer, offset + length).subarray(offset)
    this.#buffers.release(piece.buffer)
    return { buffer: -1, bytes, offset: 0, length }
  }

  /** Nothing more is sent, nothing more is taken. What is under way is kept until `sent`. */
  drop(): void {
    this.#dropped = true
    if (!this.#sending) return this.#release()
    for (const piece of this.#pieces.splice(1)) this.#give(piece)
    this.bytes = this.#pieces[0]?.length ?? 0
  }

  #release(): void {
    for (const piece of this.#pieces.splice(0)) this.#give(piece)
    this.bytes = 0
  }

  #give({ buffer }: Piece): void {
    if (buffer >= 0) this.#buffers.release(buffer)
  }
}
