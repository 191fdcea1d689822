/**
 * One random script of what peers do, on both planes: what arrives where, who ended it and how must be the same. A script
 * waits for the effect of each step, so what it sees doesn't depend on time.
 */
import { createHash } from 'node:crypto'
import { createServer } from 'node:net'
import { expect, test } from 'vitest'
import { probeIoUring } from '../../lib/kernel/io-uring-probe.ts'
import type { Brain, CarryResult, DialTarget, Plane, PlaneAction, PlaneEvent } from '../../lib/plane/plane.ts'
import { PortablePlane } from '../../lib/plane/portable.ts'
import { UringPlane } from '../../lib/plane/uring/uring.ts'
import { Random, testSeed } from '../support/random.ts'
import { until } from '../support/until.ts'
import { Wires } from '../support/wires.ts'
import type { End, Transport } from '../support/wires.ts'

const SCRIPTS = Number(process.env['NEARCAST_SCRIPTS'] ?? 60)
const TIMEOUT_MS = 3000

/** How a connection begins. */
const OPENINGS = ['carry', 'header', 'greeting', 'second-dial', 'no-dial', 'refuse', 'message', 'rated'] as const
type Opening = (typeof OPENINGS)[number]

type Step =
  | { readonly type: 'send'; readonly from: 'client' | 'upstream'; readonly bytes: number; readonly fill: number }
  /** The receiver doesn't read until the sender has stopped, or all has gone. */
  | { readonly type: 'stall'; readonly from: 'client' | 'upstream'; readonly bytes: number; readonly fill: number }
  | { readonly type: 'both'; readonly up: number; readonly down: number }
  | { readonly type: 'end'; readonly from: 'client' | 'upstream'; readonly bytes: number }
  | { readonly type: 'reset'; readonly from: 'client' | 'upstream' }
  | { readonly type: 'cut' }

interface Script {
  readonly transport: Transport
  readonly opening: Opening
  readonly steps: readonly Step[]
}

interface Seen {
  readonly events: readonly string[]
  readonly client: unknown
  readonly upstream: unknown
  readonly result: Omit<CarryResult, 'durationMs'>
}

function dial(target: DialTarget): PlaneAction {
  return { type: 'dial', target, timeoutMs: TIMEOUT_MS }
}

function scriptOf(random: Random): Script {
  const steps: Step[] = []
  const open = new Set<'client' | 'upstream'>(['client', 'upstream'])
  const amount = (): number => 1 + random.below(random.pick([10, 5000, 400_000]))
  const over = (): boolean => steps.some(({ type }) => type === 'reset' || type === 'cut') || open.size === 0
  while (!over() && steps.length < 12) {
    const [first = 'client', second] = [...open]
    const from = second && random.below(2) === 0 ? second : first
    const step = random.below(14)
    if (step < 5) steps.push({ type: 'send', from, bytes: amount(), fill: random.below(256) })
    else if (step < 7) steps.push({ type: 'stall', from, bytes: 3_000_000 + amount(), fill: random.below(256) })
    else if (step < 9 && second) steps.push({ type: 'both', up: amount(), down: amount() })
    else if (step < 12) {
      steps.push({ type: 'end', from, bytes: random.below(3) * amount() })
      open.delete(from)
    } else if (step === 12) steps.push({ type: 'reset', from })
    else steps.push({ type: 'cut' })
  }
  if (!over()) steps.push({ type: 'cut' })
  return { transport: random.pick(['tcp', 'unix']), opening: random.pick(OPENINGS), steps }
}

class Run {
  readonly #plane: Plane
  readonly #wires: Wires
  readonly #script: Script
  readonly #events: string[] = []
  #result: CarryResult | null = null

  constructor(plane: Plane, script: Script) {
    this.#plane = plane
    this.#script = script
    this.#wires = new Wires(script.transport)
  }

  async seen(): Promise<Seen> {
    try {
      return await this.#play()
    } finally {
      await this.#plane.destroy()
      this.#wires.close()
    }
  }

  #brain(good: DialTarget, gone: DialTarget): Brain {
    const { opening } = this.#script
    const hello: PlaneAction = { type: 'write', side: 'upstream', bytes: Buffer.from('HEADER') }
    const carry: PlaneAction = { type: 'carry', ...(opening === 'rated' && { rates: ['rate'] }) }
    const decide = (event: PlaneEvent): readonly PlaneAction[] => {
      if (event.type === 'accepted') {
        if (opening === 'refuse') return [{ type: 'reset' }]
        if (opening === 'message') return [{ type: 'write', side: 'client', bytes: Buffer.from('no') }, { type: 'close' }]
        if (opening === 'header') return [{ type: 'read', side: 'client', limitBytes: 1000 }]
        return [dial(opening === 'second-dial' || opening === 'no-dial' ? gone : good)]
      }
      if (event.type === 'dial-failed') return opening === 'second-dial' ? [dial(good)] : [{ type: 'reset' }]
      if (event.type === 'received' && event.side === 'client') return event.bytes.length < 4 ? [] : [{ type: 'consume', side: 'client', bytes: 2 }, { type: 'read', side: 'client', limitBytes: 0 }, dial(good)]
      if (event.type === 'received') return [{ type: 'consume', side: 'upstream', bytes: 1 }, carry]
      if (event.type !== 'dialled') return []
      if (opening === 'greeting') return [hello, { type: 'read', side: 'upstream', limitBytes: 1 }]
      return opening === 'header' ? [hello, hello, carry] : [carry]
    }
    return {
      on: (event) => {
        this.#events.push(event.type === 'dial-failed' ? `dial-failed ${event.reason}` : event.type)
        if (event.type === 'closed') this.#result = event.result
        return decide(event)
      },
    }
  }

  async #play(): Promise<Seen> {
    const { opening, steps } = this.#script
    const ends: End[] = []
    const good = await this.#wires.server((end) => {
      ends.push(end)
      if (opening === 'greeting') end.socket.write('\0first')
    })
    const gone = await this.#gone()
    const place = this.#wires.listenTarget()
    this.#plane.setRate('rate', { bytesPerSecondUp: 30_000_000, bytesPerSecondDown: 30_000_000 })
    const listener = await this.#plane.listen({ target: place, brain: () => this.#brain(good, gone) })
    const client = await this.#wires.client(listener, place)
    if (opening === 'header') client.socket.write('--')
    if (opening === 'header') client.socket.write('ready')
    if (opening === 'refuse' || opening === 'message' || opening === 'no-dial') {
      await until('the client hears of it', () => client.ended || client.closed)
      client.socket.end()
    } else {
      await until('an upstream is there', () => ends.length === 1)
      const [upstream] = ends
      if (!upstream) throw new Error('no upstream')
      if (opening === 'header') await upstream.received('HEADERHEADERready'.length)
      if (opening === 'greeting') await client.received('first'.length)
      for (const step of steps) await this.#step(step, client, upstream)
    }
    await until('closed', () => this.#result !== null)
    const { durationMs: _durationMs, ...result } = this.#result ?? { durationMs: 0, bytesUp: -1, bytesDown: -1, endedBy: 'local', how: 'error' }
    const events = this.#events.filter((type, index) => type !== 'received' || this.#events[index - 1] !== 'received')
    return { events, client: this.#of(client), upstream: ends[0] ? this.#of(ends[0]) : null, result }
  }

  /** Nobody listens there. */
  async #gone(): Promise<DialTarget> {
    if (this.#script.transport === 'unix') return { kind: 'unix', path: this.#wires.path() }
    const server = createServer().listen(0, '::1')
    await until('listening', () => server.listening)
    const port = Number(Object(server.address()).port)
    await new Promise((resolve) => server.close(resolve))
    return { kind: 'tcp', host: '::1', port }
  }

  #of(end: End): unknown {
    const bytes = Buffer.concat(end.chunks)
    // A Unix socket tells a reset in one of two ways.
    const how = this.#script.transport === 'unix' ? end.ended || end.closed : { ended: end.ended, error: end.errorCode }
    return { bytes: bytes.length, hash: createHash('sha1').update(bytes).digest('hex'), how }
  }

  async #step(step: Step, client: End, upstream: End): Promise<void> {
    const pair = (from: 'client' | 'upstream'): [End, End] => (from === 'client' ? [client, upstream] : [upstream, client])
    switch (step.type) {
      case 'send': {
        const [from, to] = pair(step.from)
        const all = to.receivedBytes + step.bytes
        from.socket.write(Buffer.alloc(step.bytes, step.fill))
        return to.received(all)
      }
      case 'stall': {
        const [from, to] = pair(step.from)
        const all = to.receivedBytes + step.bytes
        to.socket.pause()
        from.socket.write(Buffer.alloc(step.bytes, step.fill))
        await until('some is under way', () => from.socket.bytesWritten > 0)
        await new Promise((resolve) => setImmediate(resolve))
        to.socket.resume()
        return to.received(all)
      }
      case 'both': {
        const [up, down] = [upstream.receivedBytes + step.up, client.receivedBytes + step.down]
        client.socket.write(Buffer.alloc(step.up, 1))
        upstream.socket.write(Buffer.alloc(step.down, 2))
        await upstream.received(up)
        return client.received(down)
      }
      case 'end': {
        const [from, to] = pair(step.from)
        const all = to.receivedBytes + step.bytes
        from.socket.end(Buffer.alloc(step.bytes, 3))
        await to.received(all)
        return until('the end arrives', () => to.ended)
      }
      case 'reset': {
        const [from, to] = pair(step.from)
        from.reset()
        if (this.#script.transport === 'tcp') return until('the reset arrives', () => to.closed || to.ended)
        await until('the end arrives', () => to.ended || to.closed)
        return void to.socket.destroy()
      }
      default:
        this.#plane.cut(1)
        return until('both ends are cut', () => (client.closed || client.ended) && (upstream.closed || upstream.ended))
    }
  }
}

const support = probeIoUring()
test.skipIf(support.answer === 'no')(`${SCRIPTS} random scripts: the same on both planes${support.answer === 'no' ? ` (io_uring: ${support.reason})` : ''}`, { timeout: 20_000 + SCRIPTS * 500 }, async () => {
  const random = new Random(testSeed('planes'))
  const openings = new Set<Opening>()
  for (let count = 0; count < SCRIPTS; count++) {
    const script = scriptOf(random)
    openings.add(script.opening)
    const told = (plane: string) => (error: unknown): never => {
      throw new Error(`script ${count} on ${plane}: ${JSON.stringify(script)}`, { cause: error })
    }
    const portable = await new Run(new PortablePlane(), script).seen().catch(told('portable'))
    const uring = await new Run(new UringPlane(), script).seen().catch(told('uring'))
    expect(uring, JSON.stringify(script)).toEqual(portable)
  }
  if (SCRIPTS >= 60) expect(openings.size).toBe(OPENINGS.length)
})
