/** Imports into this node's databases: at most one per database; the last one is remembered until the agent ends. */
import type { AllowList } from '../../backends/allow-list.ts'
import { NearcastError } from '../../../lib/errors.ts'
import type { Supervisor } from '../engine/supervisor.ts'
import type { ImportProgress } from './import.ts'
import { Import } from './import.ts'
import { parseImportSource } from './import-source.ts'

export class Imports {
  readonly #allow: AllowList
  readonly #supervisor: (service: string) => Supervisor
  readonly #imports = new Map<string, Import>()

  /** `supervisor` throws for what isn't here. */
  constructor(allow: AllowList, supervisor: (service: string) => Supervisor) {
    this.#allow = allow
    this.#supervisor = supervisor
  }

  /** Begins. @throws NearcastError redis.import-refused, redis.import-running */
  start(service: string, from: string): ImportProgress {
    const supervisor = this.#supervisor(service)
    const source = parseImportSource(from)
    if (!this.#allow.allows({ kind: 'tcp', host: source.host, port: source.port })) {
      throw new NearcastError('redis.import-refused', `This node's operator doesn't allow imports from ${source.host}:${source.port}; redis.importFrom in agent.toml names what may be dialled.`, { side: 'client' })
    }
    if (this.#imports.get(service)?.over === false) throw new NearcastError('redis.import-running', 'An import into this database is running; cut over, or stop it.', { side: 'client' })
    const begun = new Import(source)
    this.#imports.set(service, begun)
    supervisor.occupy('redis.importing', (engine) => begun.run(engine)).catch((error: unknown) => begun.abandon(error))
    return begun.progress
  }

  status(service: string): ImportProgress {
    return this.#get(service).progress
  }

  cutOver(service: string): ImportProgress {
    const found = this.#get(service)
    found.cutOver()
    return found.progress
  }

  stop(service: string): ImportProgress {
    const found = this.#get(service)
    found.stop()
    return found.progress
  }

  forget(service: string): void {
    this.#imports.delete(service)
  }

  #get(service: string): Import {
    const found = this.#imports.get(service)
    if (found !== undefined) return found
    throw new NearcastError('redis.import-unknown', 'No import into this database was begun since its agent started; begin one.', { side: 'client' })
  }
}
