/**
 * A data thread: carries the connections of the networks that the kernel steers to it, with everything that decides about
 * them (data-path.ts) and an io_uring plane of its own. What it needs to know it is told (messages.ts); what happens it
 * tells in batches. It shares no state with its siblings but two words of numbers.
 *
 * An exception that nothing catches ends the thread, in order: its connections are reset, what it accepted meanwhile and
 * its listening sockets go to the thread that takes its place.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { createLogger } from '../../lib/log.ts'
import type { Listener } from '../../lib/plane/plane.ts'
import { UringPlane } from '../../lib/plane/uring/uring.ts'
import { DataPath, prefixOf } from '../data-path.ts'
import { Journal } from '../journal.ts'
import { Measures } from '../measures.ts'
import { eventsFor } from '../record-events.ts'
import { SharedRoutes } from '../tables/shared-routes.ts'
import { TlsEdgeReplica } from '../tls/edge.ts'
import { Channel } from './channel.ts'
import type { AskedByThread, AskedOfThread, FromThread, ThreadStart, ToThread } from './messages.ts'
import { NodeReplicas } from './node-replica.ts'
import { Tally } from './tally.ts'

/** What has happened is told together, so late at most. */
const TELL_MS = 50
/** Ticks of silence; then what changes without an event (rates) is told. */
const MOST_SILENT = 20
const now = (): number => performance.now()

class DataThread {
  readonly #start: ThreadStart
  readonly #channel: Channel<FromThread, AskedByThread, ToThread, AskedOfThread>
  readonly #plane: UringPlane
  readonly #routes: SharedRoutes
  readonly #data: DataPath
  readonly #nodes: NodeReplicas
  readonly #edge: TlsEdgeReplica
  readonly #tally = new Tally()
  readonly #open: Int32Array
  readonly #listeners = new Map<number, Listener>()
  #lines: string[] = []
  #rejectedByClosed = 0
  #toldOpen = -1
  #silent = 0

  constructor(start: ThreadStart, port: NonNullable<typeof parentPort>) {
    this.#start = start
    const { index, config, hopTls } = start
    this.#open = new Int32Array(start.open)
    const headers = new BigInt64Array(start.headers)
    const log = createLogger('proxy', start.logLevel, { write: (line: string) => void this.#lines.push(line) }).child({ thread: index })
    this.#channel = new Channel<FromThread, AskedByThread, ToThread, AskedOfThread>(port, {
      told: {
        nodes: (states) => this.#nodes.learn(states),
        sharedTls: (shared) => this.#edge.use(shared),
        drain: () => this.#data.entrance.drain(),
        fail: () => {
          throw new Error('told to fail')
        },
      },
      asked: {
        rows: ({ rows, numbers }) => {
          this.#routes.name(numbers)
          this.#data.tables.replace(rows)
          return this.#data.entrance.services()
        },
        changes: ({ changes, numbers }) => {
          this.#routes.name(numbers)
          this.#data.tables.change(changes)
        },
        review: ({ touched, services }) => {
          for (const [id, row] of services) this.#routes.putService(id, row)
          this.#data.review(touched)
        },
        listen: ({ port: number, fd, accepted }) => this.#listen(number, fd, accepted),
        unlisten: (number) => this.#unlisten(number),
        explain: ({ params, revision }) => this.#data.explain(params, revision),
        stop: () => this.#stop(),
      },
    })
    this.#edge = new TlsEdgeReplica(config.tls, this.#open.length, now, start.sharedTls)
    this.#plane = new UringPlane({ onDefect: (id, error) => log.error({ id, error }, 'defect in a connection') })
    this.#nodes = new NodeReplicas({
      host: config.host,
      tls: hopTls,
      worker: index,
      nextCounter: () => Atomics.add(headers, index, 1n),
      reopen: (node, refused) => this.#channel.tell('reopen', { node, refused }),
      opened: (node, timeoutMs) => this.#channel.ask('session', { node, timeoutMs }),
      dialled: (node, failure) => this.#channel.tell('dialled', { node, failure }),
      onHealth: (node) => this.#data.nodeChanged(node),
      log,
    })
    const measures = new Measures(this.#tally)
    const journal = new Journal({ log, prefix: prefixOf(config), now, regionOf: (node) => this.#nodes.get(node)?.row.region ?? null })
    this.#routes = new SharedRoutes({ handle: start.routes, prefix: prefixOf(config), isOpen: (service) => this.#data.entrance.has(service) })
    this.#data = new DataPath({
      config,
      plane: this.#plane,
      routes: this.#routes,
      reviews: false,
      nodes: this.#nodes,
      tls: this.#edge,
      events: { ...eventsFor(journal, measures), opened: (open) => void Atomics.store(this.#open, index, open) },
      roomForOneMore: () => this.#openInAll() < config.limits.maxConnections,
      now,
      log,
    })
    this.#nodes.learn(start.nodes)
    setInterval(() => this.#tell(), TELL_MS).unref()
    process.on('uncaughtException', (error) => this.#fail(error))
    process.on('unhandledRejection', (error) => this.#fail(error))
    void this.#channel.ask('ready', null)
  }

  #openInAll(): number {
    let sum = 0
    for (let thread = 0; thread < this.#open.length; thread++) sum += Atomics.load(this.#open, thread)
    return sum
  }

  async #listen(port: number, fd: number, accepted: readonly number[]): Promise<void> {
    this.#listeners.set(port, await this.#plane.listen({ ...this.#data.accept, target: { kind: 'fd', fd }, accepted }))
  }

  async #unlisten(port: number): Promise<void> {
    const listener = this.#listeners.get(port)
    this.#listeners.delete(port)
    this.#rejectedByClosed += listener?.rejected.limit ?? 0
    await listener?.close()
  }

  async #stop(): Promise<void> {
    this.#data.entrance.drain()
    await this.#plane.destroy()
    this.#data.close()
    this.#tell()
  }

  #tell(): void {
    const { entrance, limits, turnstile } = this.#data
    const nothing = this.#lines.length === 0 && this.#tally.isEmpty && this.#toldOpen === entrance.open
    if (nothing && this.#silent++ < MOST_SILENT) return
    this.#silent = 0
    this.#toldOpen = entrance.open
    let rejected = this.#rejectedByClosed
    for (const listener of this.#listeners.values()) rejected += listener.rejected.limit
    const use = { rejected, waiting: turnstile.admissions.waiting, handshakes: this.#edge.handshakes.open, carried: this.#nodes.carried(), rates: limits.rates() }
    this.#channel.tell('happened', { lines: this.#lines, tallies: this.#tally.take(), use })
    this.#lines = []
  }

  #fail(error: unknown): void {
    const ports = [...this.#listeners.keys()]
    const accepted = this.#plane.abandon([...this.#listeners.values()])
    Atomics.store(this.#open, this.#start.index, 0)
    this.#tell()
    this.#channel.tell('failed', {
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      accepted: ports.map((port, index) => ({ port, fds: accepted[index] ?? [] })),
    })
    process.exit(1)
  }
}

/** Kept alive by its listeners and its channel. */
export const dataThread = parentPort && new DataThread(workerData as ThreadStart, parentPort)
