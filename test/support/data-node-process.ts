/** A data node (data-node.ts) in a process of its own, which can be killed while its engines go on. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import type { Change } from '../../lib/feed/messages.ts'
import { DataNode } from './data-node.ts'
import type { DataNodeOptions } from './data-node.ts'
import { armTrap, patchSteps } from './step-trap.ts'

export interface DataNodeProcess {
  readonly pid: number
  readonly over: boolean
  /** Of its hop. */
  readonly socket: string
  /** service -> pid of its engine, once the rows were applied. */
  readonly engines: Readonly<Record<string, number>>
  /** Its engine is asked to rest, and after so many steps of its agent (step-trap.ts) the victim is killed. */
  rest(service: string, kill?: { readonly after: number; readonly victim: Victim }): void
  /** Whatever trap is still set is no more. @returns whether one has killed somebody; when it has ended, of course */
  disarm(): Promise<boolean>
  /** SIGTERM leaves engines, SIGKILL asks nobody. */
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>
}

export type Victim = 'agent' | 'engine' | 'both'

interface Order {
  readonly rest?: string
  readonly kill?: { readonly after: number; readonly victim: Victim }
}

type Options = Pick<DataNodeOptions, 'id' | 'redis' | 'dataDir'>

/** Resolves once the rows are in force. The engines are for whoever calls to end. */
export async function startDataNodeProcess(options: Options, rows: readonly Change[]): Promise<DataNodeProcess> {
  const child = fork(import.meta.filename, [JSON.stringify({ options, rows })], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const [ready] = (await once(child, 'message')) as [{ socket: string; directory: string; engines: Record<string, number> }]
  const ended = once(child, 'exit')
  const over = (): boolean => child.exitCode !== null || child.signalCode !== null
  // It may be ending.
  const send = (order: Order): void => void (child.connected && child.send(order, () => {}))
  return {
    pid: child.pid ?? 0,
    ...ready,
    get over() {
      return over()
    },
    rest: (service, kill) => send({ rest: service, ...(kill && { kill }) }),
    disarm: async () => {
      const answered = once(child, 'message').then(([killed]) => killed === true)
      send({})
      return await Promise.race([answered, ended.then(() => true)])
    },
    end: async (signal) => {
      if (!over()) child.kill(signal)
      await ended
      rmSync(ready.directory, { recursive: true, force: true })
    },
  }
}

async function main(words: string): Promise<void> {
  const { options, rows } = JSON.parse(words) as { options: Options; rows: Change[] }
  const node = await new DataNode({ ...options, redis: { outliveAgent: true, ...options.redis }, leaveEngines: () => true }).listen()
  await node.feed(...rows)
  const services = [...node.agent.tenants.supervisors.keys()]
  patchSteps()
  const kill = process.kill.bind(process)
  let killed = false
  process.on('message', ({ rest, kill: wanted }: Order) => {
    if (rest === undefined) {
      armTrap(0, () => {})
      process.send?.(killed)
      killed = false
      return
    }
    if (wanted !== undefined) {
      armTrap(wanted.after, () => {
        const pid = node.enginePid(rest)
        killed = pid !== 0
        try {
          if (wanted.victim !== 'agent' && pid !== 0) kill(pid, 'SIGKILL')
        } catch {
          // It has just ended.
        }
        if (wanted.victim !== 'engine') kill(process.pid, 'SIGKILL')
      })
    }
    node.agent.tenants.supervisors.get(rest)?.rest()
  })
  process.once('SIGTERM', () => void node.stop().finally(() => process.exit(0)))
  process.once('disconnect', () => process.exit(0))
  process.send?.({ socket: node.socket, directory: node.directory, engines: Object.fromEntries(services.map((service) => [service, node.enginePid(service)])) })
}

if (import.meta.main) await main(process.argv[2] ?? '')
