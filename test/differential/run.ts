/**
 * Tells two engines the same and compares what they answer: a bare one, and one behind the agent.
 *
 * A batch is one connection: login, protocol, commands, a word that ends it. Of the commands in a *plain* batch each has one
 * answer, which is judged by the rule of its command (comparison.ts). A *stateful* one changes what answers mean (transactions,
 * subscriptions, CLIENT REPLY, tracking); its commands have exact answers, so all that came is compared at once, pushes too.
 */
import { connect } from 'node:net'
import type { Reply } from '../../agent/redis/resp/reply-decoder.ts'
import { ReplyDecoder } from '../../agent/redis/resp/reply-decoder.ts'
import { encodeCommand } from '../../agent/redis/resp/encode.ts'
import { encodeReply, pieces } from '../support/resp.ts'
import type { Random } from '../support/random.ts'
import { commandDocs } from './command-docs.ts'
import type { CommandDoc } from './command-docs.ts'
import { alike, ruleOf } from './comparison.ts'
import { isDenied } from './intended.ts'
import { RandomCommands, waits } from './random-commands.ts'

export type Place = string | { readonly port: number }
export type Version = 2 | 3

export interface Command {
  /** As COMMAND DOCS names it. */
  readonly name: string
  readonly words: readonly string[]
}

export interface Batch {
  readonly kind: 'plain' | 'stateful'
  readonly version: Version
  readonly commands: readonly Command[]
}

export interface Difference {
  readonly batch: Batch
  /** null: of the whole. */
  readonly command: Command | null
  readonly bare: string
  readonly ours: string
}

export const PASSWORD = 'pw'
const END = 'the-very-end'
const CLOSED = '+closed\r\n'
const SILENCE_MS = 10_000
/** They change the meaning of what follows, on this connection. */
const STATEFUL: ReadonlySet<string> = new Set([
  'auth', 'hello', 'quit', 'reset', 'select', 'multi', 'exec', 'discard', 'watch', 'unwatch', 'subscribe', 'psubscribe', 'ssubscribe', 'unsubscribe', 'punsubscribe', 'sunsubscribe',
  'client|reply', 'client|tracking', 'client|caching', 'monitor', 'publish', 'spublish', 'client|trackinginfo', 'client|getredir',
])
/** Said in their own batches: RESET logs out, what MONITOR shows comes when it likes, and QUIT behind CLIENT REPLY OFF leaves an engine mute. */
const FIXED: ReadonlySet<string> = new Set(['reset', 'monitor', 'quit'])
/** Some whose answers are numbers of connections that only the one side has. */
const NOT_EXACT: ReadonlySet<string> = new Set(['client|unblock', 'client|id'])

export async function docsOf(bare: Place): Promise<readonly CommandDoc[]> {
  const raw = await say(bare, [login(2), ...words([['COMMAND', 'DOCS']]), ending()])
  return commandDocs(repliesIn(raw)[2])
}

/** Payloads of DUMP, for RESTORE. */
export async function payloadsOf(bare: Place): Promise<string[]> {
  const raw = await say(bare, [login(2), ...words([['SET', 'd1', 'v'], ['RPUSH', 'd2', 'a', 'b'], ['HSET', 'd3', 'f', 'v'], ['DUMP', 'd1'], ['DUMP', 'd2'], ['DUMP', 'd3'], ['DEL', 'd1', 'd2', 'd3']]), ending()])
  return repliesIn(raw).slice(5, 8).flatMap((reply) => (reply.kind === 'text' ? [reply.text] : []))
}

/** Newer engines (Redis 7.2, Valkey) say nothing to a failed login while an answer before it is on its way. */
export async function answersLogins(bare: Place): Promise<boolean> {
  const raw = await say(bare, [Buffer.concat([login(2), ...words([['PING'], ['AUTH', 'default', 'wrong'], ['PING']]), ending()])])
  return raw.includes('-WRONGPASS')
}

export class Batches {
  readonly #random: Random
  readonly #commands: RandomCommands
  readonly #plain: readonly CommandDoc[]
  readonly #stateful: readonly CommandDoc[]
  readonly #exact: readonly CommandDoc[]
  readonly #logins: boolean

  /** `logins`: whether failed ones are answered, wherever they are said. */
  constructor(random: Random, docs: readonly CommandDoc[], payloads: readonly string[], logins: boolean) {
    this.#random = random
    this.#commands = new RandomCommands(random, payloads)
    this.#logins = logins
    const said = docs.filter(({ name }) => !isDenied(name))
    this.#stateful = said.filter(({ name }) => STATEFUL.has(name) && !FIXED.has(name) && (logins || name !== 'auth'))
    this.#plain = said.filter(({ name }) => !STATEFUL.has(name))
    // An engine looks ten times a second whether somebody has waited long enough.
    this.#exact = this.#plain.filter((doc) => ruleOf(doc.name) === 'exact' && !NOT_EXACT.has(doc.name) && doc.group !== 'server' && doc.group !== 'scripting' && !waits(doc))
  }

  /** Forgets all that there is. */
  beginning(version: Version): Batch {
    const clean = [['FLUSHALL'], ['FUNCTION', 'FLUSH'], ['SCRIPT', 'FLUSH']]
    return { kind: 'plain', version, commands: [...clean, ...this.#commands.everything()].map(named) }
  }

  /** Every command that may be said, once, in batches of so many. */
  all(version: Version, size: number): Batch[] {
    const shuffled = this.#plain.map((doc) => ({ doc, at: this.#random.below(1 << 30) })).toSorted((left, right) => left.at - right.at)
    const batches: Batch[] = []
    for (let at = 0; at < shuffled.length; at += size) {
      const commands = shuffled.slice(at, at + size).flatMap(({ doc }) => this.#settled(doc))
      batches.push({ kind: 'plain', version, commands: [...this.#commands.fixture().map(named), ...commands] })
    }
    for (const doc of this.#stateful) batches.push(this.stateful(version, Math.ceil(size / 4), doc))
    const first = [['SET', 's1', 'value'], ['RESET'], ['PING'], ['AUTH', PASSWORD], ['GET', 's1']]
    const second = [['MONITOR'], ['GET', 's1'], ['ECHO', 'seen'], ['RESET'], ['AUTH', PASSWORD]]
    const third = [['GET', 's1'], ['QUIT'], ['GET', 's1']]
    for (const commands of [first, second, third]) batches.push({ kind: 'stateful', version, commands: commands.map(named) })
    return batches
  }

  stateful(version: Version, size: number, first?: CommandDoc): Batch {
    const commands = Array.from({ length: size }, (_each, index) => {
      const doc = index === 0 && first !== undefined ? first : this.#random.below(3) === 0 ? this.#one(this.#stateful) : this.#one(this.#exact)
      // Broadcast invalidations come when the engine has nothing else to do.
      return { name: doc.name, words: this.#words(doc).filter((word) => word !== 'BCAST') }
    })
    return { kind: 'stateful', version, commands: [...this.#commands.fixture().map(named), ...commands] }
  }

  /** Nothing but commands whose answers are exact: whatever is lost, or out of its place, shows. */
  exact(version: Version, size: number): Batch {
    const commands = Array.from({ length: size }, () => this.#one(this.#exact)).map((doc) => ({ name: doc.name, words: this.#words(doc) }))
    return { kind: 'plain', version, commands: [...this.#commands.fixture().map(named), ...commands] }
  }

  /** What chance or the clock has written is removed again. */
  #settled(doc: CommandDoc): Command[] {
    const command = { name: doc.name, words: this.#words(doc) }
    const [, key = ''] = command.words
    const isMarked = doc.name === 'spop' || (doc.name === 'xadd' && command.words.includes('*'))
    return isMarked ? [command, named(['DEL', key])] : [command]
  }

  #words(doc: CommandDoc): readonly string[] {
    const said = this.#commands.command(doc)
    // Valkey 8.0 repeats what it doesn't know here as it came, ends of lines too.
    if (doc.name === 'function|list') return said.map((word) => word.replaceAll(/[\r\n]/g, ' '))
    return doc.name === 'hello' && !this.#logins ? said.slice(0, 2) : said
  }

  #one(docs: readonly CommandDoc[]): CommandDoc {
    const doc = docs[this.#random.below(docs.length)]
    if (doc === undefined) throw new Error('there are no commands')
    return doc
  }
}

/** `split`: ours is told in pieces that end anywhere. */
export async function compare(batch: Batch, bare: Place, ours: Place, split: Random | null = null): Promise<readonly Difference[]> {
  const bytes = Buffer.concat([login(batch.version), ...words(batch.commands.map((command) => command.words)), ending(batch.kind)])
  const [one, other] = await Promise.all([say(bare, [bytes]), say(ours, split === null ? [bytes] : pieces(split, bytes))]).catch((error: unknown) => {
    throw new Error(described({ batch, command: null, bare: '', ours: '' }), { cause: error })
  })
  if (one.equals(other)) return []
  if (batch.kind === 'stateful') {
    const [left, right] = [withoutIdentity(one), withoutIdentity(other)]
    return left === right ? [] : [{ batch, command: null, bare: left, ours: right }]
  }
  const [left, right] = [answers(one), answers(other)]
  const differences: Difference[] = []
  // The login has two answers.
  for (const [index, command] of batch.commands.entries()) {
    const [bareReply, ourReply] = [left[index + 2], right[index + 2]]
    if (bareReply !== undefined && ourReply !== undefined && alike(ruleOf(command.name), bareReply, ourReply)) continue
    differences.push({ batch, command, bare: written(bareReply), ours: written(ourReply) })
  }
  if (left.length !== right.length) differences.push({ batch, command: null, bare: `${left.length} answers`, ours: `${right.length} answers` })
  return differences
}

/** Which commands of a plain batch a bare engine carried out. */
export async function carriedOut(batch: Batch, bare: Place): Promise<readonly string[]> {
  const replies = answers(await say(bare, [login(batch.version), ...words(batch.commands.map((command) => command.words)), ending(batch.kind)]))
  return batch.commands.flatMap(({ name }, index) => ((replies[index + 2]?.kind ?? 'error') === 'error' ? [] : [name]))
}

/** All that comes until the end, or until the other side ends. @throws Error when neither comes */
export function say(place: Place, parts: readonly Buffer[], end = END): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  const socket = connect(typeof place === 'string' ? { path: place } : { host: '127.0.0.1', port: place.port })
  let received = Buffer.alloc(0)
  const finish = (): void => {
    resolve(received)
    socket.destroy()
  }
  socket.setTimeout(SILENCE_MS, () => {
    reject(new Error(`neither answer nor end behind ${JSON.stringify(received.toString('latin1').slice(-300))}`))
    socket.destroy()
  })
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk])
    if (received.subarray(-end.length - 8).includes(`${end}\r\n`)) finish()
  })
  socket.on('error', () => {})
  socket.on('close', () => {
    // Seen in a comparison: one side ended, the other didn't.
    received = Buffer.concat([received, Buffer.from(CLOSED)])
    finish()
  })
  void (async () => {
    for (const part of parts) {
      if (socket.destroyed) return
      socket.write(part)
      // On its way by itself.
      if (parts.length > 1) await new Promise((next) => setImmediate(next))
    }
  })()
  return promise
}

export function described({ batch, command, bare, ours }: Difference): string {
  const said = command === null ? batch.commands.map((each) => JSON.stringify(each.words.join(' '))).join('\n  ') : JSON.stringify(command.words.join(' '))
  return `RESP${batch.version} ${batch.kind}:\n  ${said}\n  a bare engine: ${JSON.stringify(bare)}\n  ours:          ${JSON.stringify(ours)}`
}

/** What comes from engines that we started. */
const DECODING = { encoding: 'latin1', maxBytes: 64 << 20, maxItems: 1 << 20, maxDepth: 32 } as const

/** @throws Error when it isn't RESP */
export function repliesIn(raw: Buffer): readonly Reply[] {
  const { replies, invalid } = new ReplyDecoder(DECODING).push(raw)
  if (invalid) throw new Error(`no RESP: ${JSON.stringify(raw.toString('latin1').slice(0, 300))}`)
  return replies
}

function login(version: Version): Buffer {
  return Buffer.concat(words([['AUTH', PASSWORD], ['HELLO', String(version)]]))
}

/**
 * Out of every state, whether it was left logged in or not. Not by RESET: an engine ends who isn't logged in and has more
 * than 1 KiB of answers waiting, and how much that is depends on the moment.
 */
function ending(kind: Batch['kind'] = 'plain'): Buffer {
  const out = [['DISCARD'], ['UNSUBSCRIBE'], ['PUNSUBSCRIBE'], ['SUNSUBSCRIBE'], ['CLIENT', 'REPLY', 'ON'], ['AUTH', PASSWORD]]
  return Buffer.concat(words([...(kind === 'stateful' ? out : []), ['ECHO', END]]))
}

function words(commands: readonly (readonly string[])[]): Buffer[] {
  return commands.map((command) => encodeCommand(command, 'latin1'))
}

function named(command: readonly string[]): Command {
  return { name: (command[0] ?? '').toLowerCase(), words: command }
}

function answers(raw: Buffer): readonly Reply[] {
  return repliesIn(raw).filter(({ kind }) => kind !== 'push')
}

/** Numbers of connections in what HELLO says; times and addresses in what MONITOR shows, and what the agent itself asks. */
function withoutIdentity(raw: Buffer): string {
  return raw
    .toString('latin1')
    .replaceAll(/\$2\r\nid\r\n:\d+/g, 'id')
    .replaceAll(/\+\d+\.\d+ \[\d+ [^\]]*\] "(?:PING|INFO)"[^\r]*\r\n/g, '')
    .replaceAll(/\+\d+\.\d+ \[(\d+) [^\]]*\]/g, '+[$1]')
}

function written(reply: Reply | undefined): string {
  return reply === undefined ? 'nothing' : encodeReply(reply)
}
