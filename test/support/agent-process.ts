/** The agent as the process that it is in production: its configuration written, started, asked, ended. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { ENGINE_SERVER } from './engine-server.ts'

const MAIN = new URL('../../agent/main.ts', import.meta.url).pathname

export interface AgentPlace {
  readonly directory: string
  readonly file: string
  readonly dataDir: string
  readonly socket: string
}

/** `hopPort`: agents tell others where they are before they listen, so it is chosen beforehand. `outliveAgent`: who asks for it ends the engines. */
export function agentPlace(base: string, id: string, routerUrl: string, hopPort: number, outliveAgent = false): AgentPlace {
  const directory = join(base, id)
  mkdirSync(directory, { recursive: true })
  const place = { directory, file: join(directory, 'agent.toml'), dataDir: join(directory, 'data'), socket: join(directory, 'hop.sock') }
  const lines = [
    `id = "${id}"`,
    `host = "${id}-host"`,
    `region = "${id}"`,
    `stateDir = "${join(directory, 'state')}"`,
    `dataDir = "${place.dataDir}"`,
    `router = "${routerUrl}"`,
    '[hop]',
    `listen = "[::1]:${hopPort}"`,
    `socket = "${place.socket}"`,
    '[redis]',
    `server = "${ENGINE_SERVER}"`,
    `outliveAgent = ${outliveAgent}`,
    '[admin]',
    'listen = "127.0.0.1:0"',
  ]
  writeFileSync(place.file, `${lines.join('\n')}\n`)
  return place
}

export interface AgentProcess {
  readonly pid: number
  readonly adminPort: number
  /** Everything it has logged. */
  readonly lines: readonly string[]
  end(signal: NodeJS.Signals): Promise<number | null>
}

/** Resolves when it is ready. @throws Error with what it said when it ends instead */
export async function startAgentProcess({ file }: AgentPlace, env: Record<string, string> = {}): Promise<AgentProcess> {
  const child = spawn(process.execPath, [MAIN, '--config', file], { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = once(child, 'close')
  const lines: string[] = []
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line)
      if (line.includes('"msg":"ready"')) resolve((JSON.parse(line) as { adminPort: number }).adminPort)
    })
  }
  void ended.then(() => reject(new Error(`The agent ended with ${child.exitCode}: ${lines.findLast((line) => !line.startsWith('{')) ?? ''}`)))
  const adminPort = await promise
  return {
    pid: child.pid ?? 0,
    adminPort,
    lines,
    end: async (signal) => {
      child.kill(signal)
      await ended
      return child.exitCode
    },
  }
}
