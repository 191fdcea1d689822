/** What the router asks about a database (lib/feed/questions.ts), answered. Refusals are answers, with code and sentence. */
import { asNearcastError, NearcastError } from '../lib/errors.ts'
import type { QuestionAnswer, QuestionName, QuestionParams } from '../lib/feed/questions.ts'
import { isQuestion, QUESTIONS } from '../lib/feed/questions.ts'
import type { BackupFiles } from './redis/copies/backup-files.ts'
import type { Backups } from './redis/copies/backups.ts'
import type { Imports } from './redis/copies/imports.ts'
import { commandTable } from './redis/limits/command-table.ts'
import { trialCommands } from './redis/engine/acl.ts'
import type { Supervisor } from './redis/engine/supervisor.ts'
import { SLOW_LOG_COMMAND, slowLog } from './redis/statistics/slow-log.ts'
import type { Statistics } from './redis/statistics/statistics.ts'

export interface QuestionsOptions {
  /** @throws NearcastError redis.not-found */
  readonly supervisor: (service: string) => Supervisor
  readonly backups: Backups
  readonly files: BackupFiles
  readonly imports: Imports
  readonly statistics: Statistics
}

type Answers = { readonly [Name in QuestionName]: (params: QuestionParams<Name>) => Promise<QuestionAnswer<Name>> }

/** For an engine that rests, or is starting. */
const ENGINE_MS = 3000

export class Questions {
  readonly #options: QuestionsOptions
  readonly #answers: Answers = {
    'redis.check-rules': (params) => this.#checkRules(params),
    'redis.backup': ({ service, backup, key }) => this.#options.backups.take({ service, backup }, Buffer.from(key, 'hex')),
    'redis.restore': async ({ target, service, backup, key, bytes, sha256, store }) => {
      await this.#options.backups.restore(target, { service, backup }, Buffer.from(key, 'hex'), { bytes, sha256 }, store)
      return {}
    },
    'redis.backup-read': async ({ offset, maxBytes, store, ...place }) => ({ data: (await this.#options.backups.at(store).readStored(place, offset, maxBytes)).toString('base64') }),
    'redis.backup-write': async ({ offset, data, last, ...place }) => {
      await this.#options.files.writeStored(place, offset, Buffer.from(data, 'base64'), last)
      return {}
    },
    'redis.import-start': async ({ service, from }) => this.#options.imports.start(service, from),
    'redis.import-status': async ({ service }) => this.#options.imports.status(service),
    'redis.import-cut-over': async ({ service }) => this.#options.imports.cutOver(service),
    'redis.import-stop': async ({ service }) => this.#options.imports.stop(service),
    'redis.statistics': async ({ service }) => {
      this.#options.supervisor(service)
      return this.#options.statistics.of(service)
    },
    'redis.commands': ({ service }) => this.#commands(service),
    'redis.slow': async ({ service }) => ({ commands: slowLog((await this.#options.supervisor(service).look([SLOW_LOG_COMMAND]))?.[0]) }),
    'redis.backup-remove': async ({ store, ...place }) => {
      await this.#options.backups.at(store).remove(place)
      return {}
    },
  }

  constructor(options: QuestionsOptions) {
    this.#options = options
  }

  /** @throws NearcastError feed.ask-failed for what this version doesn't know. */
  async answer(name: string, params: unknown): Promise<unknown> {
    if (!isQuestion(name)) throw new NearcastError('feed.ask-failed', `An agent of this version can't answer "${name}".`)
    const parsed = QUESTIONS[name].params.safeParse(params)
    if (!parsed.success) throw new NearcastError('feed.ask-failed', `An agent of this version doesn't understand the parameters of "${name}".`)
    try {
      return await this.#answer(name, parsed.data)
    } catch (error) {
      const { code, message } = asNearcastError(error)
      return { refused: { code, message: message.slice(0, 512) } }
    }
  }

  /** `params` were read by the schema of that very name. */
  #answer<Name extends QuestionName>(name: Name, params: unknown): Promise<QuestionAnswer<Name>> {
    return this.#answers[name](params as QuestionParams<Name>)
  }

  async #commands(service: string): Promise<QuestionAnswer<'redis.commands'>> {
    const [info, commands] = (await this.#options.supervisor(service).ask([['INFO', 'server'], ['COMMAND']], ENGINE_MS)) ?? []
    if (info?.kind !== 'text') throw new NearcastError('redis.not-answering', 'The database does not answer now; try again in a moment.', { retryable: true })
    // Valkey names a Redis that it is compatible with, too.
    const [, name = 'redis', version = ''] = /^(valkey)_version:(\S+)/m.exec(info.text) ?? /^(redis)_version:(\S+)/m.exec(info.text) ?? []
    return { server: `${name} ${version}`, commands: [...commandTable(commands)].map(([command, kind]) => ({ name: command, kind })).toSorted((left, right) => (left.name < right.name ? -1 : 1)) }
  }

  async #checkRules({ service, rules }: QuestionParams<'redis.check-rules'>): Promise<QuestionAnswer<'redis.check-rules'>> {
    const [set] = (await this.#options.supervisor(service).ask(trialCommands(rules), ENGINE_MS)) ?? []
    if (set === undefined) throw new NearcastError('redis.not-answering', 'The database does not answer now; try again in a moment.', { retryable: true })
    if (set.kind === 'error') throw new NearcastError('redis.user-rules', `The engine doesn't take these rules: ${set.text}`, { side: 'client' })
    return {}
  }
}
