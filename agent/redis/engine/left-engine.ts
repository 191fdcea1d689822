/**
 * An engine that an agent before this one started, and that goes on: found by the lock that it holds, the note of that agent,
 * and what the kernel says of the process. Only when all of them agree is it ours to speak to, and to signal.
 *
 * Its exit code went to nobody, and so did what it said since: only that it ended is known.
 */
import { readFileSync, readlinkSync, realpathSync } from 'node:fs'
import { ProcessHandle } from '../../../lib/kernel/process-handle.ts'
import type { EngineDirectory } from './directory.ts'
import { lockHolder } from './directory.ts'
import type { EngineNote } from './note.ts'
import { readNote, startedTicks } from './note.ts'
import type { EngineExit, EngineRun } from './run.ts'
import { endInOrder } from './run.ts'

export class LeftEngine implements EngineRun {
  readonly note: EngineNote
  readonly exited: Promise<EngineExit>
  readonly #handle: ProcessHandle
  #over = false
  #left = false

  private constructor(note: EngineNote, directory: EngineDirectory, handle: ProcessHandle) {
    this.note = note
    this.#handle = handle
    this.exited = handle.ended.then(() => {
      this.#over = true
      if (!this.#left) endRemains(note, directory)
      return { reason: 'redis.crashed', detail: 'it had been started by an agent before this one, so how it ended is not known' }
    })
  }

  /** null: none is left, or what is there isn't known to be ours. */
  static find(directory: EngineDirectory): LeftEngine | null {
    const note = readNote(directory)
    if (note === null || lockHolder(directory) !== note.pid) return null
    // Held before it is looked at: from here on the number means this process.
    const handle = ProcessHandle.open(note.pid)
    if (handle === null) endRemains(note, directory)
    if (handle === null) return null
    if (isIts(note, directory)) return new LeftEngine(note, directory, handle)
    handle.close()
    return null
  }

  get pid(): number {
    return this.note.pid
  }

  get over(): boolean {
    return this.#over
  }

  /** It runs this very program: not one that was replaced on the disk since. */
  runs(server: string): boolean {
    return linkOf(`/proc/${this.pid}/exe`) === realpathSync(server)
  }

  async stop(timeoutMs: number): Promise<void> {
    if (!this.#over) await endInOrder(this.exited, timeoutMs, (name) => (name === 'SIGKILL' ? this.kill() : void this.#handle.signal(name)))
  }

  kill(): void {
    // The number is its group's, too, as long as it is there.
    if (this.#handle.signal('SIGKILL')) killGroup(this.pid)
  }

  leave(): void {
    this.#left = true
    this.#over = true
    this.#handle.close()
  }
}

function isIts(note: EngineNote, directory: EngineDirectory): boolean {
  const uid = /^Uid:\t(\d+)/m.exec(contentOf(`/proc/${note.pid}/status`))?.[1]
  return startedTicks(note.pid) === note.startedTicks && uid === String(directory.uid ?? process.getuid?.()) && linkOf(`/proc/${note.pid}/cwd`) === realpathSync(directory.data)
}

/**
 * A rewriting child outlives its engine, would go on writing, and holds the lock. As long as somebody of the engine's group does,
 * its number means nobody else.
 */
function endRemains(note: EngineNote, directory: EngineDirectory): void {
  if (lockHolder(directory) === note.pid) killGroup(note.pid)
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // Nobody is left in it.
  }
}

function linkOf(path: string): string | null {
  try {
    return readlinkSync(path)
  } catch {
    return null
  }
}

function contentOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
