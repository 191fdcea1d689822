/** An engine for a database: the one that an agent before this one has left, or a new one, which waits for its configuration. */
import { randomBytes } from 'node:crypto'
import { asNearcastError } from '../../../lib/errors.ts'
import { CONFIGURATION_MARK } from './configuration.ts'
import type { EngineDirectory } from './directory.ts'
import { orphanedHolder } from './directory.ts'
import { LeftEngine } from './left-engine.ts'
import { agentPassword, startedTicks, writeNote } from './note.ts'
import { EngineProcess } from './process.ts'
import type { EngineRun } from './run.ts'
import type { SupervisorOptions } from './supervision.ts'
import type { Walls } from './walls.ts'

export interface ObtainedEngine {
  readonly engine: EngineRun
  /** By which it knows this agent, once it is configured. */
  readonly password: string
}

type Around = Pick<SupervisorOptions, 'walls' | 'times' | 'key' | 'log'>

/**
 * `mayBeLeft` false: this agent knows that none is, for it has seen the last run end. To look takes the kernel some milliseconds
 * (whoever reads /proc/locks waits until every processor has), which somebody may be waiting for.
 */
export async function obtainEngine(service: string, directory: EngineDirectory, around: Around, mayBeLeft: boolean): Promise<ObtainedEngine> {
  const { walls, times, key, log } = around
  if (!mayBeLeft) return begin(service, directory, around)
  const left = LeftEngine.find(directory)
  if (left === null) {
    const pid = orphanedHolder(directory)
    if (pid !== null) process.kill(pid, 'SIGKILL')
    return begin(service, directory, around)
  }
  const why = whyReplaced(left, walls)
  if (why === null) return { engine: left, password: agentPassword(key, service, left.note.nonce) }
  log.info({ service, pid: left.pid, why }, 'an engine that was left is replaced')
  await left.stop(times.stopTimeoutMs)
  return begin(service, directory, around)
}

/** null: it may go on. */
function whyReplaced(left: LeftEngine, walls: Walls): string | null {
  if (!walls.outlive) return 'engines end with this agent'
  if (!left.runs(walls.server)) return 'its program is another one now'
  return left.note.configuration === CONFIGURATION_MARK ? null : 'its configuration is that of another version'
}

function begin(service: string, directory: EngineDirectory, { walls, key, log }: Around): ObtainedEngine {
  const nonce = randomBytes(16).toString('hex')
  const engine = new EngineProcess(walls, directory)
  const ticks = startedTicks(engine.pid)
  // Before it is configured: from then on it may outlive this agent.
  try {
    if (ticks !== null) writeNote(directory, { pid: engine.pid, startedTicks: ticks, nonce, configuration: CONFIGURATION_MARK })
  } catch (error) {
    // A full disk: the next agent replaces it.
    log.debug({ service, cause: asNearcastError(error).message }, 'the engine could not be noted')
  }
  return { engine, password: agentPassword(key, service, nonce) }
}
