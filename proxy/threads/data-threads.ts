/**
 * The control thread's side of its data threads: starts them, keeps their tables, nodes and certificates up to date, opens
 * ports for them, and replaces one that ends after a defect; the port's sockets are kept for it, so that clients who
 * knock meanwhile wait for a moment. A thread that ends without a word has met a fault of the runtime: then nothing in
 * this process can be trusted, it ends, and whoever supervises it starts it again.
 *
 * The kernel deals connections out by the network of their destination (lib/plane/uring/listen-group.ts): all of a
 * network meet one thread, which therefore counts and limits them exactly, without a lock.
 */
import { closeSync } from 'node:fs'
import { extname } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { parseIpv6 } from '../../lib/address.ts'
import { asNearcastError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { Descriptor } from '../../lib/kernel/descriptor.ts'
import type { HopTls, ListenOptions, Listener } from '../../lib/plane/plane.ts'
import { listenGroup } from '../../lib/plane/uring/listen-group.ts'
import type { Carrier } from '../carrier.ts'
import type { ExplainReport } from '../explain.ts'
import type { ProxyConfig } from '../config.ts'
import { prefixOf } from '../data-path.ts'
import type { Node } from '../nearest/node.ts'
import type { Nodes } from '../nearest/nodes.ts'
import type { Routes } from '../routes.ts'
import type { TakesRows } from '../tables-in-force.ts'
import type { OpenTlsEdge, SharedTls } from '../tls/edge.ts'
import { Channel } from './channel.ts'
import type { AskedByThread, AskedOfThread, FromThread, NodeState, ThreadChannel, ThreadStart, ThreadUse, ToThread } from './messages.ts'
import type { TallyBook } from './tally.ts'
import { ThreadTables } from './thread-tables.ts'

export interface DataThreadsOptions {
  readonly count: number
  readonly config: ThreadStart['config'] & Pick<ProxyConfig, 'log'>
  readonly hopTls: HopTls
  readonly nodes: Nodes
  readonly edge: Pick<OpenTlsEdge, 'shared'>
  /** This thread's own: what is in force, to look at. */
  readonly routes: Routes
  readonly tables: TakesRows
  readonly book: TallyBook
  /** Lines of the threads' logs, each with its line end. */
  readonly write: (line: string) => void
  readonly log: Logger
  /** A thread has ended without a word: the process must end. */
  readonly fatal: (thread: number, why: string) => void
}

interface Port {
  readonly port: number
  /** By the index of their threads, which own them while they live. */
  readonly fds: readonly number[]
}

/** In the address plan the network's 32 bits stand behind the prefix (lib/address.ts). */
const NETWORK_BYTE = 2
/** How late a thread hears of a node's latency, load or availability. */
const NODES_MS = 50
/** A thread that fails again and again is started again after this, doubled each time, and at last after this. */
const RESTART_MS = [10, 5000] as const
/** A thread that has lived so long starts anew without a wait. */
const LIVED_MS = 60_000
const NONE: ReadonlyMap<string, string> = new Map()
const NOBODY: ThreadUse = { rejected: 0, waiting: 0, handshakes: 0, carried: new Map(), rates: [] }

export class DataThreads implements Carrier {
  readonly accept: Carrier['accept'] = { brain: () => ({ on: () => [] }) }
  readonly plane: Carrier['plane'] = { listen: (options) => this.#listen(options) }
  readonly tables: ThreadTables
  readonly routes: Routes
  readonly #options: DataThreadsOptions
  readonly #threads: Thread[]
  readonly #ports = new Map<number, Port>()
  readonly #open: Int32Array
  readonly #headers: SharedArrayBuffer
  readonly #ticking: NodeJS.Timeout
  readonly #told = new Map<string, NodeState>()
  #draining = false
  #closing: Promise<void> | undefined
  /** Threads that took the place of one that had ended. */
  replaced = 0

  /** Resolves once all run. @throws NearcastError what keeps them from starting */
  static async start(options: DataThreadsOptions): Promise<DataThreads> {
    const threads = new DataThreads(options)
    await Promise.all(threads.#threads.map((thread) => thread.run()))
    return threads
  }

  private constructor(options: DataThreadsOptions) {
    this.#options = options
    const { count } = options
    this.routes = options.routes
    this.#open = new Int32Array(new SharedArrayBuffer(4 * count))
    this.#headers = new SharedArrayBuffer(8 * count)
    this.tables = new ThreadTables({ prefix: prefixOf(options.config), own: options.tables, askAll: (ask) => this.#askAll(ask) })
    this.#threads = Array.from({ length: count }, (_, index) => new Thread(this, index))
    this.#ticking = setInterval(() => this.#tellNodes(), NODES_MS).unref()
  }

  get open(): number {
    let sum = 0
    for (const count of this.#open) sum += count
    return sum
  }

  get waiting(): number {
    return this.#sum((use) => use.waiting)
  }

  get handshakes(): number {
    return this.#sum((use) => use.handshakes)
  }

  get rejected(): number {
    return this.#sum((use) => use.rejected)
  }

  rates(): ThreadUse['rates'] {
    return this.#threads.flatMap(({ use }) => use.rates)
  }

  #sum(of: (use: ThreadUse) => number): number {
    return this.#threads.reduce((sum, { use }) => sum + of(use), 0)
  }

  explain(params: unknown, revision: number): Promise<ExplainReport> {
    // An address of no network is nobody's: any thread says so.
    const thread = this.#threads[destinationNetwork(params) % this.#threads.length]
    return thread?.channel?.ask('explain', { params, revision }) ?? Promise.reject(asNearcastError(new Error('no data thread runs')))
  }

  nodeChanged(): void {
    this.#tellNodes()
  }

  useTls(shared: SharedTls): void {
    this.#tell('sharedTls', shared)
  }

  drain(): void {
    this.#draining = true
    this.#tell('drain', null)
  }

  /** A fault drill: a thread throws where nothing catches. */
  fail(index: number): void {
    this.#threads[index % this.#threads.length]?.channel?.tell('fail', null)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    clearInterval(this.#ticking)
    await Promise.all(this.#threads.map((thread) => thread.stop()))
  }

  get closing(): boolean {
    return this.#closing !== undefined
  }

  get options(): DataThreadsOptions {
    return this.#options
  }

  #tell<Name extends keyof ToThread>(name: Name, value: ToThread[Name]): void {
    for (const { channel } of this.#threads) channel?.tell(name, value)
  }

  /** One that ends meanwhile is replaced by one that begins with what is in force then. */
  async #askAll(ask: (channel: ThreadChannel) => Promise<void>): Promise<void> {
    await Promise.allSettled(this.#threads.flatMap(({ channel }) => (channel ? [ask(channel)] : [])))
  }

  /** What has changed since the last time. */
  #tellNodes(): void {
    const changed: string[] = []
    const present = new Set<string>()
    for (const node of this.#options.nodes.all()) {
      const state = stateOf(node)
      present.add(state.id)
      const before = this.#told.get(state.id)
      if (before && sameState(before, state)) continue
      this.#told.set(state.id, state)
      changed.push(state.id)
    }
    for (const id of this.#told.keys()) if (!present.has(id)) this.#told.delete(id)
    if (changed.length > 0) for (const thread of this.#threads) thread.channel?.tell('nodes', this.statesFor(thread, changed))
  }

  statesFor(thread: Thread, ids: Iterable<string> = this.#told.keys()): NodeState[] {
    return Array.from(ids).flatMap((id) => {
      const state = this.#told.get(id)
      return state ? [{ ...state, elsewhere: state.elsewhere - (thread.use.carried.get(id) ?? 0) }] : []
    })
  }

  startOf(thread: Thread): ThreadStart {
    const { config, hopTls, edge } = this.#options
    this.#tellNodes()
    return {
      index: thread.index,
      config: { ...config },
      hopTls,
      logLevel: config.log.level,
      open: this.#open.buffer as SharedArrayBuffer,
      headers: this.#headers,
      sharedTls: edge.shared,
      routes: this.tables.handle,
      nodes: this.statesFor(thread),
    }
  }

  /** It runs (again): its ports, and what happened while it started. */
  async started(thread: Thread, accepted: ReadonlyMap<number, readonly number[]>): Promise<void> {
    if (thread.channel) await this.tables.bring(thread.channel)
    // Told to those who ran, while this one started.
    thread.channel?.tell('nodes', this.statesFor(thread))
    thread.channel?.tell('sharedTls', this.#options.edge.shared)
    if (this.#draining) thread.channel?.tell('drain', null)
    for (const [port, fds] of accepted) if (!this.#ports.has(port)) for (const fd of fds) closeSync(fd)
    for (const { port, fds } of this.#ports.values()) {
      await thread.channel?.ask('listen', { port, fd: fds[thread.index] ?? -1, accepted: accepted.get(port) ?? [] })
    }
  }

  /** What a thread carries to a node has changed: the node's sum. */
  counted(): void {
    for (const node of this.#options.nodes.all()) node.connections = this.#sum(({ carried }) => carried.get(node.row.id) ?? 0)
  }

  async #listen({ target }: ListenOptions): Promise<Listener> {
    if (target.kind !== 'tcp') throw new RangeError('Data threads listen on TCP alone.')
    const { descriptors, port } = listenGroup({ host: target.host, port: target.port, count: this.#threads.length, steerByByte: NETWORK_BYTE, transparent: target.transparent })
    const group: Port = { port, fds: descriptors.map((descriptor: Descriptor) => descriptor.give()) }
    this.#ports.set(port, group)
    try {
      await Promise.all(this.#threads.map((thread) => thread.listen(group)))
    } catch (error) {
      await this.#unlisten(port)
      throw error
    }
    // Counted by the threads.
    const rejected = { limit: 0, handshake: 0 }
    return { port, rejected, close: () => this.#unlisten(port) }
  }

  async #unlisten(port: number): Promise<void> {
    const group = this.#ports.get(port)
    if (!group) return
    this.#ports.delete(port)
    await Promise.all(this.#threads.map((thread) => thread.unlisten(group)))
  }
}

/** One of them, and its successors. */
class Thread {
  readonly index: number
  readonly #all: DataThreads
  #channel: ThreadChannel | null = null
  #worker: Worker | null = null
  #ready: (() => void) | undefined
  #failures = 0
  #startedMs = 0
  /** Said by the one that ended, for the next one: port -> descriptors. */
  #accepted = new Map<number, readonly number[]>()
  #saidWhy = false
  use: ThreadUse = NOBODY

  constructor(all: DataThreads, index: number) {
    this.#all = all
    this.index = index
  }

  /** null while there is none. */
  get channel(): ThreadChannel | null {
    return this.#channel
  }

  /** @throws Error when it doesn't come up */
  async run(): Promise<void> {
    const worker = new Worker(new URL(`./data-thread${extname(import.meta.url)}`, import.meta.url), { workerData: this.#all.startOf(this), trackUnmanagedFds: false })
    this.#worker = worker
    this.#saidWhy = false
    this.#startedMs = performance.now()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#ready = resolve
    const channel: ThreadChannel = new Channel(worker, this.#handlers())
    worker.on('error', (error: unknown) => reject(error))
    worker.on('exit', (code) => {
      reject(new Error(`the data thread ended with ${code}`))
      this.#ended(channel, code)
    })
    await promise
    this.#channel = channel
    const accepted = this.#accepted
    this.#accepted = new Map()
    await this.#all.started(this, accepted)
  }

  #handlers(): ConstructorParameters<typeof Channel<ToThread, AskedOfThread, FromThread, AskedByThread>>[1] {
    const { nodes, book, write, log } = this.#all.options
    return {
      told: {
        happened: ({ lines, tallies, use }) => {
          for (const line of lines) write(line)
          book.add(tallies)
          this.use = use
          this.#all.counted()
        },
        dialled: ({ node, failure }) => nodes.get(node)?.dialled(failure),
        reopen: ({ node, refused }) => nodes.get(node)?.session?.reopen(refused),
        failed: ({ error, accepted }) => {
          this.#saidWhy = true
          this.#accepted = new Map(accepted.map(({ port, fds }) => [port, fds]))
          log.error({ thread: this.index, error }, 'defect in a data thread: its connections were reset')
        },
      },
      asked: {
        ready: () => this.#ready?.(),
        session: async ({ node, timeoutMs }) => (await nodes.get(node)?.session?.opened(timeoutMs)) ?? null,
      },
    }
  }

  #ended(channel: ThreadChannel, code: number): void {
    channel.close()
    if (this.#worker === null || this.#all.closing) return
    this.#channel = null
    this.use = NOBODY
    this.#all.counted()
    if (!this.#saidWhy) return this.#all.options.fatal(this.index, `it ended with ${code} and without a word`)
    void this.#replace()
  }

  async #replace(): Promise<void> {
    const { log, fatal } = this.#all.options
    const [firstMs, mostMs] = RESTART_MS
    this.#failures = performance.now() - this.#startedMs > LIVED_MS ? 0 : this.#failures + 1
    await delay(Math.min(mostMs, firstMs * 2 ** this.#failures), undefined, { ref: false })
    if (this.#all.closing) return
    try {
      await this.run()
      this.#all.replaced++
      log.info({ thread: this.index }, 'data thread replaced')
    } catch (error) {
      if (!this.#all.closing) fatal(this.index, asNearcastError(error).message)
    }
  }

  /** A thread that starts at present gets it when it is there. */
  async listen({ port, fds }: Port): Promise<void> {
    await this.#channel?.ask('listen', { port, fd: fds[this.index] ?? -1, accepted: [] })
  }

  /** Without a thread the descriptor is nobody's else. */
  async unlisten({ port, fds }: Port): Promise<void> {
    try {
      if (this.#channel) return await this.#channel.ask('unlisten', port)
    } catch {
      // It ended meanwhile, and left its descriptor open.
    }
    const fd = fds[this.index]
    if (fd !== undefined) closeSync(fd)
  }

  async stop(): Promise<void> {
    const worker = this.#worker
    try {
      await this.#channel?.ask('stop', null)
    } catch {
      // It was ending by itself.
    }
    await worker?.terminate()
    this.#worker = null
  }
}

function stateOf({ row, health, latency, connect, reachable, proofs, session, connections, salt }: Node): NodeState {
  return {
    id: row.id,
    healthy: health.healthy,
    reason: health.reason,
    latencyMs: latency.smoothedMs,
    connectMs: connect.smoothedMs,
    reachable,
    proofs,
    session: session?.session ?? null,
    unavailable: session?.unavailable ?? NONE,
    load: session?.load ?? 0,
    elsewhere: connections,
    salt,
  }
}

/** Sessions and maps are replaced, never changed. */
function sameState(one: NodeState, other: NodeState): boolean {
  return (Object.keys(one) as (keyof NodeState)[]).every((member) => one[member] === other[member])
}

function destinationNetwork(params: unknown): number {
  if (typeof params !== 'object' || params === null || !('destination' in params) || typeof params.destination !== 'string') return 0
  try {
    const address = parseIpv6(params.destination)
    return new DataView(address.buffer, address.byteOffset).getUint32(NETWORK_BYTE)
  } catch {
    return 0
  }
}
