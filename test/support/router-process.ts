/** The router as the process that it is in production: started, asked, stopped. */
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const MAIN = new URL('../../router/main.ts', import.meta.url).pathname

export interface Finished {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

export interface RouterProcess {
  readonly ready: Record<string, unknown>
  /** Ends it and waits for the end. */
  end(signal: NodeJS.Signals): Promise<number | null>
}

export function writeConfig(directory: string, more = ''): string {
  const file = join(directory, 'router.toml')
  writeFileSync(file, `stateDir = "${join(directory, 'state')}"\n${more}\n[api]\nlisten = "127.0.0.1:0"\n[feed]\nlisten = "[::1]:0"\n[admin]\nlisten = "127.0.0.1:0"\n`)
  return file
}

/** Runs to its end: commands, and starts that must fail. */
export async function runRouter(args: readonly string[], env: Record<string, string> = {}): Promise<Finished> {
  const child = spawn(process.execPath, [MAIN, ...args], { env: { ...process.env, ...env } })
  let out = ''
  let err = ''
  child.stdout.on('data', (part: Buffer) => (out += part.toString()))
  child.stderr.on('data', (part: Buffer) => (err += part.toString()))
  const timer = setTimeout(() => child.kill('SIGKILL'), 10_000)
  await once(child, 'close')
  clearTimeout(timer)
  return { code: child.exitCode, out, err }
}

export async function startRouter(config: string, env: Record<string, string> = {}, inherited: readonly number[] = []): Promise<RouterProcess> {
  const child: ChildProcess = spawn(process.execPath, [MAIN, '--config', config], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe', ...inherited],
  })
  const lines: string[] = []
  if (child.stdout === null || child.stderr === null) throw new Error('pipes are missing')
  child.stderr.on('data', (part: Buffer) => lines.push(part.toString()))
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line)
    if (!line.includes('"msg":"ready"')) continue
    const ended = once(child, 'exit')
    child.stdout.resume()
    return {
      ready: JSON.parse(line) as Record<string, unknown>,
      end: async (signal) => {
        child.kill(signal)
        await ended
        return child.exitCode
      },
    }
  }
  throw new Error(`The router ended: ${lines.join('\n')}`)
}
