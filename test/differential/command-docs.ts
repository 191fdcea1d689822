/**
 * Every command of an engine with the arguments that it says it takes (COMMAND DOCS, Redis 7.0 and Valkey): the source of
 * generated commands. Subcommands are commands of their own, named as ACL rules name them (`config|get`).
 */
import type { Reply } from '../../agent/redis/resp/reply-decoder.ts'

export interface Argument {
  readonly name: string
  /** string, integer, double, key, pattern, unix-time, pure-token, oneof, block */
  readonly type: string
  /** A word that stands before it. */
  readonly token: string | null
  readonly optional: boolean
  readonly multiple: boolean
  /** Each of several has the token before it. */
  readonly multipleToken: boolean
  readonly arguments: readonly Argument[]
}

export interface CommandDoc {
  readonly name: string
  /** string, list, stream, … */
  readonly group: string
  /** What is said for its name. */
  readonly words: readonly string[]
  readonly arguments: readonly Argument[]
}

/** `reply`: of COMMAND DOCS, in RESP2. Sorted by name. @throws Error when it isn't that */
export function commandDocs(reply: Reply | undefined): CommandDoc[] {
  return [...entries(reply)].flatMap(([name, doc]) => commandsOf(name, doc)).toSorted((left, right) => (left.name < right.name ? -1 : 1))
}

function commandsOf(name: string, doc: Reply): CommandDoc[] {
  const members = entries(doc)
  const group = text(members.get('group'))
  const own: CommandDoc = { name, group, words: name.toUpperCase().split('|'), arguments: list(members.get('arguments')).map(argument) }
  return [own, ...[...entries(members.get('subcommands'))].flatMap(([each, below]) => commandsOf(each, below))]
}

function argument(reply: Reply): Argument {
  const members = entries(reply)
  const flags = list(members.get('flags')).map(text)
  return {
    name: text(members.get('name')).toLowerCase(),
    type: text(members.get('type')),
    token: members.has('token') ? text(members.get('token')) : null,
    optional: flags.includes('optional'),
    multiple: flags.includes('multiple'),
    multipleToken: flags.includes('multiple_token'),
    arguments: list(members.get('arguments')).map(argument),
  }
}

/** A map as RESP2 writes it. */
function entries(reply: Reply | undefined): Map<string, Reply> {
  const items = list(reply)
  return new Map(items.flatMap((key, index) => (index % 2 === 0 && items[index + 1] !== undefined ? [[text(key), items[index + 1] as Reply]] : [])))
}

function list(reply: Reply | undefined): readonly Reply[] {
  if (reply === undefined) return []
  if (reply.kind === 'list' || reply.kind === 'set') return reply.items
  throw new Error(`COMMAND DOCS has a ${reply.kind} where a list was expected`)
}

function text(reply: Reply | undefined): string {
  return reply?.kind === 'text' ? reply.text : ''
}
