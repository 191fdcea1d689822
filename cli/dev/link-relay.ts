/**
 * The long lines between regions, where the kernel has no netem: every Ethernet frame that arrives at one end of a link
 * leaves at the other end half a round-trip time later. It delays packets, never streams: TCP's handshake, windows,
 * retransmissions and resets are those of the two hosts.
 *
 * A program of its own with one thread that blocks in ppoll(2); it runs in the namespace where the links' ends are.
 *   node link-relay.ts mad-ams=30 mad-gru=190        interfaces mad-ams and ams-mad, 30 ms round trip
 * Commands on standard input, a line each: `rtt mad-ams 80`, `drop mad-ams`, `restore mad-ams`. It ends with its input.
 */
import { NearcastError, asNearcastError } from '../../lib/errors.ts'
import { systemCalls } from '../../lib/kernel/ffi.ts'
import { MAX_FRAME_BYTES, PacketSocket, ReadableWait } from '../../lib/kernel/packet-socket.ts'
import { DelayQueue } from './delay-queue.ts'

/** A third of a second of 1 Gbit/s. */
const QUEUE_LIMIT_BYTES = 40 << 20
/** Frames taken from one socket before the others get their turn. */
const BURST_FRAMES = 64
const STANDARD_INPUT = 0

interface Line {
  readonly from: PacketSocket
  readonly to: PacketSocket
  readonly queue: DelayQueue
}

interface RelayedLink {
  rttMs: number
  dropping: boolean
  readonly lines: readonly Line[]
}

class LinkRelay {
  readonly #links = new Map<string, RelayedLink>()
  readonly #lines: { readonly link: RelayedLink; readonly line: Line }[] = []
  readonly #scratch = Buffer.alloc(MAX_FRAME_BYTES)
  readonly #input = Buffer.alloc(4096)
  #pending = ''

  add(id: string, rttMs: number): void {
    const [left, right, ...rest] = id.split('-')
    if (left === undefined || right === undefined || rest.length > 0) throw new NearcastError('cli.usage', `"${id}" is no link; write mad-ams=30.`)
    const near = new PacketSocket(`${left}-${right}`)
    const far = new PacketSocket(`${right}-${left}`)
    const lines = [{ from: near, to: far, queue: new DelayQueue(QUEUE_LIMIT_BYTES) }, { from: far, to: near, queue: new DelayQueue(QUEUE_LIMIT_BYTES) }]
    const link = { rttMs, dropping: false, lines }
    this.#links.set(id, link)
    for (const line of lines) this.#lines.push({ link, line })
  }

  /** Returns when standard input ends. */
  run(): void {
    const wait = new ReadableWait([STANDARD_INPUT, ...this.#lines.map(({ line }) => line.from.fd)])
    for (;;) {
      wait.wait(this.#timeToNextMs())
      if (wait.isReady(0) && !this.#obey()) return
      // When ppoll ended by its timeout nothing is readable and these loops only deliver.
      this.#lines.forEach(({ link, line }, index) => {
        if (wait.isReady(index + 1)) this.#collect(link, line)
      })
      const now = performance.now()
      for (const { line } of this.#lines) deliver(line, now)
    }
  }

  #timeToNextMs(): number | null {
    let nextMs = Number.POSITIVE_INFINITY
    for (const { line } of this.#lines) nextMs = Math.min(nextMs, line.queue.nextDueMs ?? Number.POSITIVE_INFINITY)
    return nextMs === Number.POSITIVE_INFINITY ? null : Math.max(0, nextMs - performance.now())
  }

  #collect(link: RelayedLink, line: Line): void {
    for (let taken = 0; taken < BURST_FRAMES; taken++) {
      const bytes = line.from.receive(this.#scratch)
      if (bytes === 0) return
      if (link.dropping) continue
      line.queue.push(Uint8Array.prototype.slice.call(this.#scratch, 0, bytes), performance.now(), link.rttMs / 2)
    }
  }

  #obey(): boolean {
    const bytes = systemCalls().read(STANDARD_INPUT, this.#input, this.#input.length)
    if (bytes <= 0) return false
    const lines = (this.#pending + this.#input.toString('latin1', 0, bytes)).split('\n')
    this.#pending = (lines.pop() ?? '').slice(0, this.#input.length)
    for (const text of lines) this.#command(text)
    return true
  }

  #command(text: string): void {
    const [verb, id, value] = text.split(' ')
    const link = this.#links.get(id ?? '')
    const rttMs = Number(value)
    if (link === undefined) return report(`no link "${id}"`)
    if (verb === 'drop') {
      link.dropping = true
      // What is on its way is lost as well: the line is cut, not closed at one end.
      for (const { queue } of link.lines) queue.clear()
    } else if (verb === 'restore') link.dropping = false
    else if (verb === 'rtt' && rttMs >= 0) link.rttMs = rttMs
    else report(`can't understand "${text}"`)
  }
}

function deliver(line: Line, nowMs: number): void {
  for (let frame = line.queue.take(nowMs); frame !== null; frame = line.queue.take(nowMs)) line.to.send(frame)
}

function report(message: string): void {
  process.stderr.write(`link-relay: ${message}\n`)
}

try {
  const relay = new LinkRelay()
  for (const argument of process.argv.slice(2)) {
    const [id, rttMs] = argument.split('=')
    relay.add(id ?? '', Number(rttMs))
  }
  process.stdout.write('ready\n')
  relay.run()
} catch (error) {
  const { code, message } = asNearcastError(error)
  process.stderr.write(`${code}: ${message}\n`)
  process.exitCode = 1
}
