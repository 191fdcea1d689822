/**
 * Commands at random, from what an engine says that they take (command-docs.ts): most of them well-formed and on keys of
 * their own type, some damaged. Seeded. Whatever depends on the clock is chosen far from now, and whatever waits is short, so
 * that two engines that were told the same hold the same.
 */
import type { Random } from '../support/random.ts'
import type { Argument, CommandDoc } from './command-docs.ts'

type Words = readonly [string, ...string[]]

/** Keys by the group of their commands, with what fills them. */
const FIXTURES: Readonly<Record<string, readonly (readonly string[])[]>> = {
  string: [['SET', 's1', 'value'], ['SET', 's2', '41'], ['SET', 's3', '\u0000\u00ff\r\n$3'], ['SET', 's4', '2.5']],
  bitmap: [['SETBIT', 'b1', '7', '1'], ['SET', 'b2', 'bits\u0080']],
  list: [['RPUSH', 'l1', 'a', 'b', 'c', 'a'], ['RPUSH', 'l2', '3', '1', '2']],
  hash: [['HSET', 'h1', 'f1', 'v1', 'f2', '7', 'f3', '1.5'], ['HSET', 'h2', 'f1', 'other']],
  set: [['SADD', 'e1', 'a', 'b', 'c', '1'], ['SADD', 'e2', '1', '2', '3']],
  'sorted-set': [['ZADD', 'z1', '1', 'a', '2', 'b', '2', 'c'], ['ZADD', 'z2', '0', 'a', '0', 'b', '-inf', 'd']],
  geo: [['GEOADD', 'g1', '13.361389', '38.115556', 'a', '15.087269', '37.502669', 'b'], ['GEOADD', 'g2', '-3.7', '40.4', 'mad']],
  hyperloglog: [['PFADD', 'p1', 'a', 'b', 'c'], ['PFADD', 'p2', 'c', 'd']],
  stream: [['XADD', 'x1', '1-1', 'f1', 'v1'], ['XADD', 'x1', '2-1', 'f1', 'v2'], ['XGROUP', 'CREATE', 'x1', 'group', '0'], ['XADD', 'x2', '5-0', 'a', 'b'], ['XGROUP', 'CREATE', 'x2', 'group', '0'], ['XREADGROUP', 'GROUP', 'group', 'consumer', 'COUNT', '1', 'STREAMS', 'x1', '>']],
}
const KEYS: Readonly<Record<string, Words>> = {
  string: ['s1', 's2', 's3', 's4'],
  bitmap: ['b1', 'b2', 's1'],
  list: ['l1', 'l2'],
  hash: ['h1', 'h2'],
  set: ['e1', 'e2'],
  'sorted-set': ['z1', 'z2'],
  geo: ['g1', 'g2'],
  hyperloglog: ['p1', 'p2'],
  stream: ['x1', 'x2'],
}
const ALL_KEYS: Words = ['absent', 'new', ...Object.values(KEYS).flat()]
const INTEGERS: Words = ['0', '1', '2', '3', '7', '10', '-1', '-2', '-100', '9223372036854775807', '-9223372036854775808', '007', '1.5', 'abc', '']
const FEW: Words = ['0', '1', '2', '3', '10', '-1', '-2']
const DOUBLES: Words = ['0', '1', '2', '1.5', '-3.25', '1e3', 'inf', '-inf', '(1', 'nan', 'abc']
const STRINGS: Words = ['a', 'b', 'c', 'f1', 'f2', '1', '41', '-1', 'value', '', 'a b', '\u0000\r\n', 'x'.repeat(70), '-ERR not an error\r\n']
/** What damages a command: no numbers, one of which would be a short time in some place. */
const ODD: Words = ['a', 'value', '', 'a b', '\u0000\r\n', 'x'.repeat(70), '-ERR not an error\r\n', '-inf', '*']
const LEX: Words = ['-', '+', '[a', '(b', '[c', 'a']
const IDS: Words = ['0', '1-1', '2-1', '9-9', '5', '$', '-', '+', '(1-1']
const SCRIPTS: Words = [
  'return 1',
  "return redis.call('get', KEYS[1])",
  "return redis.call('set', KEYS[1], ARGV[1])",
  'return {1, 2, {3, redis.status_reply("fine")}, ARGV[1]}',
  'return redis.error_reply("MY error")',
  "return redis.pcall('nonsense')",
  'return {double = 3.5}',
  'redis.setresp(3) return {map = {a = 1}}',
  'not lua',
]
const LIBRARY = "#!lua name=lib\nredis.register_function('f', function(keys, args) return {keys[1] or 'none', args[1] or 'none'} end)"
/** By the name of the argument; a function where the command matters. */
const NAMED: Readonly<Record<string, Words | ((command: string) => Words)>> = {
  // Far away or long ago: nobody sees which of two engines was told first.
  seconds: ['100000', '99999', '-1'],
  ttl: ['0', '100000000'],
  'unix-time-seconds': ['1', '33177117420'],
  'unix-time-milliseconds': ['1', '33177117420000'],
  timestamp: ['1', '33177117420'],
  'unix-time': ['1', '33177117420000'],
  'min-idle-time': ['0', '100000000'],
  idletime: ['1000'],
  timeout: ['0.01', '0.001'],
  numreplicas: ['0', '1'],
  cursor: ['0'],
  count: FEW,
  offset: ['0', '1', '2', '7', '-1', '9223372036854775807', '#1', 'abc'],
  index: (command) => (command === 'select' ? ['0', '1', '99', 'abc'] : INTEGERS),
  db: ['0', '0', '15', '16'],
  'destination-db': ['0', '1', '16'],
  encoding: ['u8', 'i16', 'u63', 'i64', 'u64', 'x'],
  id: IDS,
  'id-or-$': IDS,
  'lastid': ['1-1', '9-9'],
  start: (command) => (command.startsWith('x') ? IDS : FEW),
  end: (command) => (command.startsWith('x') ? IDS : FEW),
  stop: FEW,
  min: (command) => (command.includes('lex') ? LEX : DOUBLES),
  max: (command) => (command.includes('lex') ? LEX : DOUBLES),
  longitude: ['13.3', '-3.7', '0', '200'],
  latitude: ['38.1', '40.4', '0', '100'],
  radius: ['200', '5000', '0', '-1'],
  width: ['400', '0'],
  height: ['400', '0'],
  group: ['group', 'group', 'nogroup'],
  consumer: ['consumer', 'other'],
  script: SCRIPTS,
  sha1: ['e0e1f9fabfc9d4800c877a703b823ac0578ff8db', 'nothing'],
  'function-code': [LIBRARY, 'not lua'],
  function: ['f', 'nothing'],
  'library-name': ['lib', 'nothing'],
  operation: ['AND', 'OR', 'XOR', 'NOT'],
  username: ['default', 'nobody'],
  password: ['wrong'],
  pattern: (command) => (command.endsWith('subscribe') ? ['n*'] : ['*', 's*', '?1', 'nothing']),
  // One of each: several are left in the order of a hash table.
  channel: ['news'],
  shardchannel: ['shard news'],
  'client-id': ['0', '999999999'],
  'command-name': ['get', 'blpop', 'config|get', 'nothing'],
  'connection-name': ['me', 'not me', ''],
  version: ['5', '6'],
  protover: ['2', '3', '4'],
  clientname: ['me'],
  threshold: ['1', '100', '0'],
}
const DAMAGED_PERCENT = 6
const OPTIONAL_PERCENT = 35

export class RandomCommands {
  readonly #random: Random
  /** Payloads that RESTORE takes. */
  readonly #payloads: readonly string[]

  constructor(random: Random, payloads: readonly string[]) {
    this.#random = random
    this.#payloads = payloads
  }

  /** What fills some keys anew, each as it was in the beginning. */
  fixture(): string[][] {
    const groups = Object.keys(FIXTURES).filter(() => this.#random.below(3) === 0)
    return groups.flatMap((group) => [['DEL', ...(KEYS[group] ?? [])], ...(FIXTURES[group] ?? []).map((words) => [...words])])
  }

  everything(): string[][] {
    const code = [['FUNCTION', 'LOAD', LIBRARY], ['SCRIPT', 'LOAD', SCRIPTS[0]]]
    return [...code, ...Object.values(FIXTURES).flatMap((commands) => commands.map((words) => [...words]))]
  }

  /** One command of this kind. */
  command(doc: CommandDoc): string[] {
    const words = this.sound(doc)
    // Without its end a command that waits might wait for ever.
    return waits(doc) || doc.name.endsWith('subscribe') || this.#random.below(100) >= DAMAGED_PERCENT ? words : this.#damaged(words, doc.words.length)
  }

  /** The same, undamaged. */
  sound(doc: CommandDoc): string[] {
    return [...doc.words, ...this.#arguments(doc.arguments, doc)]
  }

  #arguments(list: readonly Argument[], doc: CommandDoc): string[] {
    const words: string[] = []
    /** How many keys were announced, for the argument that brings them. */
    let keys: number | null = null
    for (const argument of list) {
      if (argument.name === 'numkeys') {
        keys = this.#random.below(doc.group === 'scripting' ? 3 : 2) + (doc.group === 'scripting' ? 0 : 1)
        words.push(this.#random.below(20) === 0 ? '-1' : String(keys))
        continue
      }
      const isAnnounced = keys !== null && argument.type === 'key'
      if (!isAnnounced && argument.optional && this.#random.below(100) >= OPTIONAL_PERCENT) continue
      const times = isAnnounced ? (keys ?? 0) : argument.multiple ? 1 + this.#random.below(3) : 1
      for (let time = 0; time < times; time++) {
        if (argument.token !== null && argument.type !== 'pure-token' && (time === 0 || argument.multipleToken)) words.push(argument.token)
        words.push(...this.#one(argument, doc))
      }
    }
    return words
  }

  #one(argument: Argument, doc: CommandDoc): string[] {
    const { type, name, token } = argument
    if (type === 'pure-token') return [token ?? name.toUpperCase()]
    if (type === 'oneof') {
      const [first, ...others] = argument.arguments
      return first === undefined ? [] : this.#arguments([{ ...this.#random.pick([first, ...others]), optional: false }], doc)
    }
    if (type === 'block') return this.#arguments(argument.arguments, doc)
    if (type === 'key') return [this.#key(doc)]
    return [this.#value(argument, doc)]
  }

  #key({ group }: CommandDoc): string {
    const own = KEYS[group]
    return own === undefined || this.#random.below(5) === 0 ? this.#random.pick(ALL_KEYS) : this.#random.pick(own)
  }

  #value({ name, type, token }: Argument, { name: command }: CommandDoc): string {
    // Milliseconds are a time to live almost everywhere, and a time to wait in two commands.
    if (name === 'milliseconds') return token === 'BLOCK' ? '1' : this.#random.pick(['100000000', '99999999', '-1'])
    if (command === 'wait' && name === 'timeout') return '1'
    if (name === 'serialized-value' && this.#payloads.length > 0) return this.#random.pick(['nonsense', ...this.#payloads])
    const named = NAMED[name]
    if (named !== undefined) return this.#random.pick(typeof named === 'function' ? named(command) : named)
    if (type === 'integer' || type === 'unix-time') return this.#random.pick(INTEGERS)
    if (type === 'double') return this.#random.pick(DOUBLES)
    return this.#random.pick(STRINGS)
  }

  /** A word fewer, one more, or another one; never another command. */
  #damaged(words: readonly string[], kept: number): string[] {
    const damaged = [...words]
    const at = kept + this.#random.below(Math.max(1, words.length - kept))
    switch (this.#random.below(3)) {
      case 0:
        damaged.splice(at, 1)
        break
      case 1:
        damaged.splice(at, 0, this.#random.pick(ODD))
        break
      default:
        damaged[at] = this.#random.pick(ODD)
    }
    return damaged
  }
}

/** For what may never come, though not for long. */
export function waits(doc: CommandDoc): boolean {
  const waiting = (argument: Argument): boolean => argument.name === 'timeout' || argument.token === 'BLOCK' || argument.arguments.some(waiting)
  return doc.arguments.some(waiting)
}
