/**
 * The directories of engines.
 *
 *   <dataDir>/.agent             held by the agent that works here: no second one starts, ends or moves anything
 *   <dataDir>/<service>/         the agent's, 0700: `lock`, `engine` (the one that was started last), `copied` (the primary of
 *                                which a replica's file is a whole copy), `usage` (what it has used this day and month), `resting`
 *                                (while nobody uses it and its engine has been ended for that)
 *   <dataDir>/<service>/data/    the engine's, 0700, its own uid: append-only file, socket; the engine's working directory
 *   <dataDir>/removed/           what was deleted through the API, renamed; only operators delete data
 *
 * The agent, which may be root, writes nothing inside `data/`: a tenant that breaks out of Redis could lay links there.
 * The uid of a service is the owner of its `data/`; a new one is above all that are in use, removed ones included.
 */
import { chownSync, existsSync, lchownSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { NearcastError } from '../../../lib/errors.ts'
import type { Descriptor } from '../../../lib/kernel/descriptor.ts'
import { probeFfi } from '../../../lib/kernel/ffi.ts'
import { lockFile } from '../../../lib/kernel/file-lock.ts'
import { SOCKET_NAME } from './configuration.ts'

const REMOVED = 'removed'
const AGENT_LOCK = '.agent'
const MAX_SOCKET_PATH_BYTES = 107

export interface EngineDirectory {
  readonly lockFile: string
  readonly noteFile: string
  readonly copiedFile: string
  readonly restingFile: string
  readonly data: string
  readonly socket: string
  /** null: the agent's own. */
  readonly uid: number | null
}

export class EngineDirectories {
  readonly #dataDir: string
  /** null: engines run under the agent's uid. */
  readonly #firstUid: number | null
  #lock: Descriptor | null = null

  constructor(dataDir: string, firstUid: number | null) {
    this.#dataDir = dataDir
    this.#firstUid = firstUid
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  }

  /**
   * From now on no other agent works here; where this one can't lock a file, the engines' own locks have to do.
   * @throws NearcastError redis.locked, and what the file system says
   */
  hold(): void {
    if (this.#lock !== null || probeFfi().answer !== 'yes') return
    this.#lock = lockFile(join(this.#dataDir, AGENT_LOCK))
    if (this.#lock === null) throw new NearcastError('redis.locked', `Another agent works in ${this.#dataDir}; each needs a dataDir of its own.`, { retryable: true })
  }

  /** Another agent may work here. Idempotent. */
  release(): void {
    this.#lock?.close()
    this.#lock = null
  }

  /** Makes what is missing. @throws NearcastError redis.locked, redis.path-too-long, and what the file system says */
  prepare(service: string): EngineDirectory {
    this.hold()
    const home = join(this.#dataDir, service)
    const data = join(home, 'data')
    const socket = join(data, SOCKET_NAME)
    if (Buffer.byteLength(socket) > MAX_SOCKET_PATH_BYTES) {
      throw new NearcastError('redis.path-too-long', `${socket} has more than ${MAX_SOCKET_PATH_BYTES} bytes; choose a shorter dataDir.`)
    }
    mkdirSync(data, { recursive: true, mode: 0o700 })
    return { lockFile: join(home, 'lock'), noteFile: join(home, 'engine'), copiedFile: join(home, 'copied'), restingFile: join(home, 'resting'), data, socket, uid: this.#own(data) }
  }

  /** What its agent has counted of it. */
  usageFile(service: string): string {
    return join(this.#dataDir, service, 'usage')
  }

  has(service: string): boolean {
    return existsSync(this.dataOf(service))
  }

  /** Where its engine keeps its files. */
  dataOf(service: string): string {
    return join(this.#dataDir, service, 'data')
  }

  /** Services that have a directory here. */
  services(): string[] {
    return readdirSync(this.#dataDir, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && entry.name !== REMOVED && existsSync(join(this.#dataDir, entry.name, 'data')))
      .map(({ name }) => name)
  }

  /** @returns where its data is now. @throws NearcastError redis.locked, and what the file system says */
  retire(service: string, now: Date): string {
    this.hold()
    const removed = join(this.#dataDir, REMOVED)
    mkdirSync(removed, { recursive: true, mode: 0o700 })
    const place = join(removed, `${service}-${now.toISOString().replaceAll(/[:.]/g, '')}`)
    renameSync(join(this.#dataDir, service), place)
    return place
  }

  #own(data: string): number | null {
    const first = this.#firstUid
    if (first === null) return null
    const owner = lstatSync(data).uid
    if (owner >= first) return owner
    const uid = Math.max(first - 1, ...this.#uids()) + 1
    // So far the agent's own, so nobody else has laid anything in here.
    for (const entry of readdirSync(data, { recursive: true, encoding: 'utf8' })) lchownSync(join(data, entry), uid, uid)
    chownSync(data, uid, uid)
    return uid
  }

  #uids(): number[] {
    const removed = join(this.#dataDir, REMOVED)
    const homes = this.services().map((name) => join(this.#dataDir, name))
    if (existsSync(removed)) homes.push(...readdirSync(removed).map((name) => join(removed, name)))
    return homes.map((home) => lstatSync(join(home, 'data'), { throwIfNoEntry: false })?.uid ?? 0)
  }
}

/** The node of which this replica's append-only file holds a whole copy, however old; null: of none. */
export function copiedFrom({ copiedFile }: EngineDirectory): string | null {
  try {
    return readFileSync(copiedFile, 'utf8')
  } catch {
    return null
  }
}

/** `primary` null: it is no copy any more. @throws what the file system says */
export function noteCopied({ copiedFile }: EngineDirectory, primary: string | null): void {
  if (primary === null) return rmSync(copiedFile, { force: true })
  // Whole or not at all: half a name is another node's.
  writeFileSync(`${copiedFile}.new`, primary, { mode: 0o600 })
  renameSync(`${copiedFile}.new`, copiedFile)
}

/** Its engine was ended because nobody used it, and nobody has asked for it since. */
export function isResting({ restingFile }: EngineDirectory): boolean {
  return existsSync(restingFile)
}

/** @throws what the file system says */
export function noteResting({ restingFile }: EngineDirectory, resting: boolean): void {
  if (resting) writeFileSync(restingFile, '', { mode: 0o600 })
  else rmSync(restingFile, { force: true })
}

/** Who holds the lock of an engine, as the kernel says; null: nobody that can be seen from here. */
export function lockHolder({ lockFile: file }: EngineDirectory): number | null {
  try {
    const { ino } = lstatSync(file)
    const holder = readFileSync('/proc/locks', 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .find((words) => words[1] === 'FLOCK' && words[5]?.endsWith(`:${ino}`) === true)
    const pid = Number(holder?.[4] ?? 0)
    return pid <= 1 ? null : pid
  } catch {
    return null
  }
}

/**
 * The pid of an engine of which its agent had no time to leave a note: it holds the lock and has no agent as parent any more.
 * null when the holder is somebody's living child: then it isn't ours to end.
 */
export function orphanedHolder(directory: EngineDirectory): number | null {
  const pid = lockHolder(directory)
  if (pid === null) return null
  try {
    const orphan = /^PPid:\t1$/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
    return orphan && readlinkSync(`/proc/${pid}/cwd`) === directory.data ? pid : null
  } catch {
    return null
  }
}
