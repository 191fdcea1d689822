/**
 * What an engine says about its commands (COMMAND): which read, which write. Asked of each engine that clients are read for;
 * what it doesn't know, or hasn't told yet, is `other`.
 */
import type { Reply } from '../resp/reply-decoder.ts'

/** `other`: neither, or it may wait for others (BLPOP), so that its time says nothing. */
export type CommandKind = 'read' | 'write' | 'other'

export type CommandTable = ReadonlyMap<string, CommandKind>

export function commandTable(reply: Reply | undefined): CommandTable {
  const table = new Map<string, CommandKind>()
  if (reply?.kind !== 'list') return table
  for (const command of reply.items) {
    if (command.kind !== 'list') continue
    const [name, , flags] = command.items
    if (name?.kind !== 'text' || flags?.kind !== 'list') continue
    const has = (flag: string): boolean => flags.items.some((each) => each.kind === 'text' && each.text === flag)
    table.set(name.text, has('blocking') ? 'other' : has('write') ? 'write' : has('readonly') ? 'read' : 'other')
  }
  return table
}
