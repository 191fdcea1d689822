/**
 * A database takes over the contents of a Redis elsewhere, while that one is in use: its engine follows it by Redis's own
 * replication until somebody cuts over. The engine's namespace has no way out, so it follows a listener inside, whose one
 * connection this agent carries to the source (plain, or TLS with the system's authorities).
 *
 *   connecting -> copying -> following -> done       `cutOver`, once nothing is missing
 *                                      -> stopped    `stop`: it holds what has come so far
 *   any -> failed                                    so too
 *
 * Where PSYNC is denied keys are copied one by one (key-copy.ts), when it begins and all again at the cut-over.
 *
 * Whether clients still write to the source is theirs: what they write after the cut-over stays there.
 */
import { connect as connectTcp, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { asNearcastError, NearcastError } from '../../../lib/errors.ts'
import type { QuestionAnswer } from '../../../lib/feed/questions.ts'
import { listenInNamespace, setLoopbackUp } from '../../../lib/kernel/namespaces.ts'
import { RespClient } from '../resp/client.ts'
import type { Reply } from '../resp/reply-decoder.ts'
import type { OccupiedEngine } from '../engine/occupied.ts'
import { infoOf } from '../engine/occupied.ts'
import { copyKeys, MAX_VALUE_BYTES } from './key-copy.ts'
import type { ImportSource } from './import-source.ts'
import { checkRdbVersion, rdbVersion } from './rdb-version.ts'

export type ImportProgress = QuestionAnswer<'redis.import-status'>

const HOST = '127.0.0.1'
const PORT = 6379
const POLL_MS = 100
const ANSWER_MS = 5000
/** From the first dial to the first copy, and for as long as the link is down. */
const UNLINKED_MS = 60_000
/** Behind the wish to cut over. */
const CATCH_UP_MS = 30_000
const SAMPLES = 100
/** A refusal comes at once; a copy takes longer to begin. */
const REFUSAL_MS = 1000
/** Per type: what tells two values apart well enough. */
const PROBES: Readonly<Record<string, readonly string[]>> = { string: ['STRLEN'], list: ['LLEN'], hash: ['HLEN'], set: ['SCARD'], zset: ['ZCARD'], stream: ['XLEN'] }

export class Import {
  readonly #source: ImportSource
  readonly #sockets = new Set<Socket>()
  #progress: ImportProgress = { phase: 'connecting', way: 'replication', totalBytes: 0, copiedBytes: 0, lagBytes: null, keys: 0, sourceKeys: null, samples: 0, differing: 0 }
  #wish: 'follow' | 'cut-over' | 'stop' = 'follow'

  constructor(source: ImportSource) {
    this.#source = source
  }

  get progress(): ImportProgress {
    return this.#progress
  }

  get over(): boolean {
    return ['done', 'stopped', 'failed'].includes(this.#progress.phase)
  }

  cutOver(): void {
    this.#wish = 'cut-over'
  }

  stop(): void {
    this.#wish = 'stop'
  }

  /** It could not even begin. */
  abandon(error: unknown): void {
    this.#note({ phase: 'failed', error: asNearcastError(error).message.slice(0, 400) })
  }

  /** Until it is over. Never rejects: `progress` tells. */
  async run(engine: OccupiedEngine): Promise<void> {
    const asked = new RespClient(() => this.#dial())
    const server = createServer((inner) => this.#carry(inner))
    try {
      await this.#greet(asked)
      const ours = infoOf((await engine.health.ask([['INFO', 'server']]))?.[0])
      checkRdbVersion(rdbVersion(infoOf(await asked.command(['INFO', 'server'], ANSWER_MS))), rdbVersion(ours))
      if (await this.#deniesReplication()) {
        this.#note({ way: 'keys' })
        return await this.#copyKeys(engine, asked)
      }
      const port = await listen(server, engine.namespace)
      const { user, password } = this.#source
      const follows = await engine.health.apply([
        ['CONFIG', 'SET', 'masteruser', user, 'masterauth', password],
        ['REPLICAOF', HOST, String(port)],
      ])
      if (!follows) throw failed('the engine did not begin')
      await this.#follow(engine, asked)
    } catch (error) {
      this.#note({ phase: 'failed', error: asNearcastError(error).message.slice(0, 400) })
    } finally {
      const { user, password } = engine.replication
      const back = [['REPLICAOF', 'NO', 'ONE'], ['CONFIG', 'SET', 'masteruser', user, 'masterauth', password]]
      if (!engine.over() && !(await engine.health.apply(back))) engine.kill()
      server.close()
      for (const socket of this.#sockets) socket.destroy()
      asked.close()
    }
  }

  async #follow(engine: OccupiedEngine, asked: RespClient): Promise<void> {
    let linkedMs = performance.now()
    let wishedMs: number | null = null
    for (;;) {
      if (engine.over()) throw failed('the engine ended')
      if (this.#wish === 'stop') return this.#note({ phase: 'stopped' })
      // The source first: what it has written since can only make the lag look longer than it is.
      const theirs = infoOf(await asked.command(['INFO', 'all'], ANSWER_MS))
      const ours = infoOf((await engine.health.ask([['INFO', 'all']]))?.[0])
      const linked = ours.get('master_link_status') === 'up'
      const nowMs = performance.now()
      if (linked || ours.get('master_sync_in_progress') === '1' || ours.size === 0) linkedMs = nowMs
      if (nowMs - linkedMs > UNLINKED_MS) throw failed('the source does not give a copy; PSYNC may be denied there')
      const lag = Number(theirs.get('master_repl_offset')) - Number(ours.get('slave_repl_offset'))
      const kept = linked && ours.get('aof_enabled') === '1' && ours.get('aof_rewrite_in_progress') === '0' && ours.get('aof_rewrite_scheduled') === '0' && ours.get('aof_last_bgrewrite_status') === 'ok'
      const total = Number(ours.get('master_sync_total_bytes') ?? 0)
      this.#note({
        phase: linked ? 'following' : ours.get('master_sync_in_progress') === '1' ? 'copying' : this.#progress.phase === 'following' ? 'copying' : this.#progress.phase,
        ...(total > 0 && { totalBytes: total, copiedBytes: Number(ours.get('master_sync_read_bytes') ?? 0) }),
        lagBytes: linked && Number.isSafeInteger(lag) ? Math.max(0, lag) : null,
        keys: keysOf(ours),
        sourceKeys: theirs.size === 0 ? null : keysOf(theirs),
      })
      if (this.#wish === 'cut-over') {
        wishedMs ??= nowMs
        if (kept && lag <= 0) return await this.#finish(engine, asked)
        if (nowMs - wishedMs > CATCH_UP_MS) {
          this.#wish = 'follow'
          wishedMs = null
        }
      }
      await delay(POLL_MS)
    }
  }

  /** A pass to begin with, and another one at the cut-over, when nobody writes there any more. */
  async #copyKeys(engine: OccupiedEngine, asked: RespClient): Promise<void> {
    const binary = { maxBytes: MAX_VALUE_BYTES, encoding: 'latin1' as const }
    const from = new RespClient(() => this.#dial(), binary)
    const to = await engine.connect(binary)
    const pass = async (): Promise<boolean> => {
      this.#note({ phase: 'copying', copiedBytes: 0 })
      const databases = [...infoOf(await asked.command(['INFO', 'keyspace'], ANSWER_MS)).keys()].flatMap((name) => (/^db\d+$/.test(name) ? [Number(name.slice(2))] : []))
      const copied = (bytes: number): boolean => {
        this.#note({ copiedBytes: this.#progress.copiedBytes + bytes })
        return this.#wish !== 'stop'
      }
      const whole = await copyKeys({ from, to, databases, copied })
      const [ours, theirs] = [infoOf((await engine.health.ask([['INFO', 'keyspace']]))?.[0]), infoOf(await asked.command(['INFO', 'keyspace'], ANSWER_MS))]
      this.#note({ keys: keysOf(ours), sourceKeys: keysOf(theirs) })
      return whole
    }
    try {
      await this.#greet(from)
      await pass()
      this.#note({ phase: 'following' })
      while (this.#wish === 'follow') {
        if (engine.over()) throw failed('the engine ended')
        await delay(POLL_MS)
      }
      if (this.#wish === 'stop' || !(await pass())) return this.#note({ phase: 'stopped' })
      await this.#finish(engine, asked)
    } finally {
      from.close()
      to.close()
    }
  }

  /** PSYNC is asked for and, unless that is refused, not waited for. */
  async #deniesReplication(): Promise<boolean> {
    const trial = new RespClient(() => this.#dial())
    try {
      await this.#greet(trial)
      return (await trial.command(['PSYNC', '?', '-1'], REFUSAL_MS)).kind === 'error'
    } catch {
      return false
    } finally {
      trial.close()
    }
  }

  /** Both have everything: counted, and samples compared. */
  async #finish({ health }: OccupiedEngine, asked: RespClient): Promise<void> {
    let samples = 0
    let differing = 0
    for (; samples < SAMPLES; samples++) {
      const [random] = (await health.ask([['RANDOMKEY']])) ?? []
      if (random?.kind !== 'text') break
      const [type] = (await health.ask([['TYPE', random.text]])) ?? []
      const probe = PROBES[type?.kind === 'text' ? type.text : ''] ?? ['EXISTS']
      const [here, there] = [await health.ask([[...probe, random.text]]), await asked.command([...probe, random.text], ANSWER_MS)]
      if (numberOf(here?.[0]) !== numberOf(there)) differing++
    }
    this.#note({ phase: 'done', samples, differing })
  }

  /** A password that counts, and a server that lets itself be copied. @throws NearcastError redis.import-refused */
  async #greet(asked: RespClient): Promise<void> {
    const { user, password } = this.#source
    const words = password === '' ? ['PING'] : user === '' ? ['AUTH', password] : ['AUTH', user, password]
    const reply = await asked.command(words, ANSWER_MS).catch(() => null)
    if (reply === null) throw new NearcastError('redis.import-refused', 'The source does not answer; check its address, and that this node may reach it.', { side: 'upstream' })
    if (reply.kind === 'error') throw new NearcastError('redis.import-refused', `The source refuses: ${reply.text}`, { side: 'upstream' })
  }

  #dial(): Socket {
    const { host, port, tls } = this.#source
    return tls ? connectTls({ host, port, servername: host }) : connectTcp({ host, port })
  }

  #carry(inner: Socket): void {
    const outer = this.#dial()
    for (const [from, to] of [[inner, outer], [outer, inner]] as const) {
      this.#sockets.add(from)
      from.on('error', () => to.destroy())
      from.on('close', () => {
        this.#sockets.delete(from)
        to.destroy()
      })
      from.pipe(to)
    }
  }

  #note(change: Partial<ImportProgress>): void {
    this.#progress = { ...this.#progress, ...change }
  }
}

async function listen(server: ReturnType<typeof createServer>, namespace: string | null): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    if (namespace !== null) setLoopbackUp(namespace)
    server.listen(namespace === null ? { host: HOST, port: 0 } : { fd: listenInNamespace(namespace, HOST, PORT) }, resolve)
  })
  return namespace === null ? (server.address() as AddressInfo).port : PORT
}

/** Of all its numbered databases: `db0:keys=7,expires=0,…` */
function keysOf(info: ReadonlyMap<string, string>): number {
  return [...info].reduce((sum, [name, value]) => (/^db\d+$/.test(name) ? sum + Number(/^keys=(\d+)/.exec(value)?.[1] ?? 0) : sum), 0)
}

function numberOf(reply: Reply | undefined): number | null {
  return reply?.kind === 'number' ? reply.value : null
}

function failed(why: string): NearcastError {
  return new NearcastError('redis.copy-failed', `The import broke off: ${why}.`, { side: 'upstream' })
}
