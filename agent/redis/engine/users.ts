/**
 * The users of a database beside `default`, and logins that no longer count.
 *
 * Rules that the engine doesn't know must not keep its database from starting: users are set by commands once it answers,
 * before clients are sent to it, and one that it refuses is left out and told.
 */
import { liveForMs } from '../../../lib/live-policy.ts'
import type { Logger } from '../../../lib/log.ts'
import type { Reply } from '../resp/reply-decoder.ts'
import { tenantRules } from './acl.ts'
import type { EngineHealth } from './health.ts'
import type { EngineSpecification, EngineUser } from './specification.ts'

/** What brings an engine from `before` to `wanted`. DELUSER ends the user's connections. */
export function userCommands(before: readonly Pick<EngineUser, 'name'>[], wanted: readonly EngineUser[]): string[][] {
  const gone = before.filter(({ name }) => !wanted.some((user) => user.name === name))
  return [
    ...gone.map(({ name }) => ['ACL', 'DELUSER', name]),
    ...wanted.map(({ name, passwordSha256, rules }) => ['ACL', 'SETUSER', name, ...tenantRules(passwordSha256, rules)]),
  ]
}

/** On a connection of the agent's own. @returns false when the engine didn't answer. A user whose rules it doesn't know is left out. */
export async function setUsers(connection: EngineHealth, { service, users }: EngineSpecification, before: readonly Pick<EngineUser, 'name'>[], log: Logger): Promise<boolean> {
  const commands = userCommands(before, users)
  const replies = commands.length === 0 ? [] : await connection.ask(commands)
  for (const [index, reply] of (replies ?? []).entries()) {
    if (reply.kind === 'error') log.error({ service, user: commands[index]?.[2], code: 'redis.user-rules', said: reply.text }, 'the engine does not take a user')
  }
  return replies !== null
}

/** Users whose password is another one now, `default` included. */
export function renewedUsers(before: EngineSpecification, now: EngineSpecification): string[] {
  const further = now.users.filter(({ name, passwordSha256 }) => before.users.some((user) => user.name === name && user.passwordSha256 !== passwordSha256))
  return [...(before.passwordSha256 === now.passwordSha256 ? [] : ['default']), ...further.map(({ name }) => name)]
}

export interface OldLoginsOptions {
  /** Answers of a connection of the agent's own, opened for this; null: the engine didn't answer. */
  readonly ask: (commands: readonly (readonly string[])[]) => Promise<readonly Reply[] | null>
  readonly ended: (connections: number) => void
}

/** Ends open connections that logged in with a password that counts no more, at once or later, by the policy `live`. */
export class OldLogins {
  readonly #options: OldLoginsOptions
  readonly #timers = new Set<NodeJS.Timeout>()

  constructor(options: OldLoginsOptions) {
    this.#options = options
  }

  /** The new passwords are in force already. */
  async leave(users: readonly string[], live: string | undefined): Promise<void> {
    if (users.length === 0) return
    const afterMs = liveForMs(live, 'revoked')
    if (afterMs === Infinity) return
    if (afterMs === 0) return this.#end(users.map((user) => ['CLIENT', 'KILL', 'USER', user]))
    // A connection's number says whether it was there before this one.
    const [mine] = (await this.#options.ask([['CLIENT', 'ID']])) ?? []
    if (mine?.kind !== 'number') return
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      void this.#endOlder(users, mine.value)
    }, afterMs).unref()
    this.#timers.add(timer)
  }

  /** The engine ends, and all of its connections with it. */
  stop(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
  }

  async #endOlder(users: readonly string[], newest: number): Promise<void> {
    const [list] = (await this.#options.ask([['CLIENT', 'LIST']])) ?? []
    if (list?.kind !== 'text') return
    const old = list.text.split('\n').flatMap((line) => {
      const [, id = '', user = ''] = /^id=(\d+) .* user=(\S+)/.exec(line) ?? []
      return id !== '' && Number(id) < newest && users.includes(user) ? [['CLIENT', 'KILL', 'ID', id]] : []
    })
    if (old.length > 0) await this.#end(old)
  }

  async #end(commands: readonly (readonly string[])[]): Promise<void> {
    const replies = (await this.#options.ask(commands)) ?? []
    this.#options.ended(replies.reduce((sum, reply) => sum + (reply.kind === 'number' ? reply.value : 0), 0))
  }
}
