/**
 * What goes when a database with eviction is full: keys that expire first, any key when there are none of them. Redis has no
 * such policy; so it is the one or the other: any key from the first write that was refused for lack of memory until keys
 * that expire are there again.
 */
import { FIRST_EVICTION } from './configuration.ts'
import type { EngineHealth } from './health.ts'

const ANY_KEY = 'allkeys-random'

export class Eviction {
  /** Of the present run of the engine. */
  #anyKey = false
  #changing: Promise<void> | null = null

  /** The engine began anew, or was configured. */
  reset(): void {
    this.#anyKey = false
  }

  /** From now on any key goes. */
  takeAny(connection: EngineHealth): Promise<void> {
    this.#changing ??= this.#set(connection, ANY_KEY).finally(() => (this.#changing = null))
    return this.#changing
  }

  /** Looks whether keys that expire can go first again. */
  async look(connection: EngineHealth): Promise<void> {
    if (!this.#anyKey) return
    const [keyspace] = (await connection.ask([['INFO', 'keyspace']])) ?? []
    if (keyspace?.kind === 'text' && /expires=[1-9]/.test(keyspace.text)) await this.#set(connection, FIRST_EVICTION)
  }

  async #set(connection: EngineHealth, policy: string): Promise<void> {
    if (await connection.apply([['CONFIG', 'SET', 'maxmemory-policy', policy]])) this.#anyKey = policy === ANY_KEY
  }
}
