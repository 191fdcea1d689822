/**
 * Whether two engines that were told the same answer the same. Byte for byte, but for what no two engines can say alike: the
 * time, what is chosen at random, the order of hash tables (each process seeds its own), who one is, and what a process says
 * about itself. For those commands the weakest of these rules that holds:
 *
 *   sorted   the same elements in any order
 *   near     numbers may lie as far apart as a slow run takes
 *   shape    the same kinds, nested alike
 *   kind     the same kind
 *   scan     like `sorted` where one step showed everything; else the same kinds
 *
 * An error is compared byte for byte whatever the rule.
 */
import type { Reply } from '../../agent/redis/resp/reply-decoder.ts'
import { encodeReply } from '../support/resp.ts'

export type Rule = 'exact' | 'sorted' | 'near' | 'shape' | 'kind' | 'scan'

/** By name; of a subcommand first, then of what is before the bar. */
const RULES: Readonly<Record<string, Rule>> = {
  // The order of a hash table.
  keys: 'sorted', smembers: 'sorted', sinter: 'sorted', sunion: 'sorted', sdiff: 'sorted', hgetall: 'sorted', hkeys: 'sorted', hvals: 'sorted', sort: 'sorted', sort_ro: 'sorted',
  command: 'sorted', acl: 'sorted', 'pubsub|channels': 'sorted', 'function|list': 'sorted', 'function|stats': 'sorted',
  scan: 'scan', sscan: 'scan', hscan: 'scan', zscan: 'scan', dump: 'kind', 'function|dump': 'kind',
  // Chance.
  randomkey: 'kind', srandmember: 'shape', hrandfield: 'shape', zrandmember: 'shape', spop: 'shape', 'acl|genpass': 'kind',
  // Time.
  // Keys that have expired count until somebody looks for them.
  dbsize: 'near',
  ttl: 'near', pttl: 'near', expiretime: 'near', pexpiretime: 'near', 'object|idletime': 'near', time: 'shape', lastsave: 'kind', xadd: 'kind', xinfo: 'shape', xpending: 'shape',
  // What a process says about itself and its connections.
  info: 'kind', memory: 'kind', latency: 'kind', slowlog: 'kind', 'client|id': 'kind', 'client|info': 'kind', role: 'shape', lolwut: 'kind', 'object|freq': 'kind',
  // One more while a transaction is on its way to the append-only file, which a bare engine needn't have.
  'object|refcount': 'kind',
}
const NEAR = 120_000

export function ruleOf(command: string): Rule {
  return RULES[command] ?? RULES[command.split('|')[0] ?? ''] ?? 'exact'
}

export function alike(rule: Rule, one: Reply, other: Reply): boolean {
  if (encodeReply(one) === encodeReply(other)) return true
  if (rule === 'exact' || one.kind === 'error' || other.kind === 'error' || one.kind !== other.kind) return false
  switch (rule) {
    case 'sorted':
      return sorted(one) === sorted(other)
    case 'near':
      return one.kind === 'number' && other.kind === 'number' && Math.abs(one.value - other.value) <= NEAR
    case 'shape':
      return shape(one) === shape(other)
    case 'scan':
      return isWhole(one) && isWhole(other) ? sorted(one) === sorted(other) : true
    default:
      return true
  }
}

function itemsOf(reply: Reply): readonly Reply[] | null {
  return 'items' in reply ? reply.items : null
}

function sorted(reply: Reply): string {
  const items = itemsOf(reply)
  return items === null ? encodeReply(reply) : `${reply.kind}[${items.map(sorted).toSorted().join()}]`
}

function shape(reply: Reply): string {
  const items = itemsOf(reply)
  return items === null ? reply.kind : `${reply.kind}[${items.map(shape).join()}]`
}

/** The cursor is at its end: one step was all. */
function isWhole(reply: Reply): boolean {
  const cursor = itemsOf(reply)?.[0]
  return cursor?.kind === 'text' && cursor.text === '0'
}
