/** A data node (data-node.ts) in a process of its own, which can be killed while its engines go on. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import type { Change } from '../../lib/feed/messages.ts'
import { DataNode } from './data-node.ts'
import type { DataNodeOptions } from './data-node.ts'

export interface DataNodeProcess {
  readonly pid: number
  /** Of its hop. */
  readonly socket: string
  /** service -> pid of its engine, once the rows were applied. */
  readonly engines: Readonly<Record<string, number>>
  /** Its engine is asked to rest; told nothing back. */
  rest(service: string): void
  /** SIGTERM leaves engines, SIGKILL asks nobody. */
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>
}

type Options = Pick<DataNodeOptions, 'id' | 'redis' | 'dataDir'>

/** Resolves once the rows are in force. The engines are for whoever calls to end. */
export async function startDataNodeProcess(options: Options, rows: readonly Change[]): Promise<DataNodeProcess> {
  const child = fork(import.meta.filename, [JSON.stringify({ options, rows })], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const [ready] = (await once(child, 'message')) as [{ socket: string; directory: string; engines: Record<string, number> }]
  return {
    pid: child.pid ?? 0,
    ...ready,
    rest: (service) => child.connected && child.send({ rest: service }),
    end: async (signal) => {
      const ended = once(child, 'exit')
      if (child.exitCode !== null || child.signalCode !== null || !child.kill(signal)) return
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
  process.on('message', ({ rest }: { rest: string }) => void node.agent.tenants.supervisors.get(rest)?.rest())
  process.once('SIGTERM', () => void node.stop().finally(() => process.exit(0)))
  process.once('disconnect', () => process.exit(0))
  process.send?.({ socket: node.socket, directory: node.directory, engines: Object.fromEntries(services.map((service) => [service, node.enginePid(service)])) })
}

if (import.meta.main) await main(process.argv[2] ?? '')
