/**
 * The default context: which organization, API and cluster the commands mean when nothing else says so. A file of the
 * user's own, made by `nearcast use`; it never holds a token.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { NearcastError } from '../lib/errors.ts'

export interface Context {
  readonly org?: string
  readonly api?: string
  readonly cluster?: string
}

const MEMBERS = ['org', 'api', 'cluster'] as const
const MAX_LENGTH = 256

/** $XDG_CONFIG_HOME/nearcast/context.json; relative values of the variable count as unset, as its specification says. */
export function contextFile(env: NodeJS.ProcessEnv = process.env): string {
  const home = env['XDG_CONFIG_HOME']
  return join(home?.startsWith('/') ? home : join(env['HOME'] ?? homedir(), '.config'), 'nearcast/context.json')
}

/** Without a file: empty. @throws NearcastError config.invalid */
export function loadContext(file = contextFile()): Context {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR' || error.code === 'EACCES')) return {}
    throw error
  }
  const context = parse(text)
  if (context === null) throw new NearcastError('config.invalid', `${file} is damaged; remove it with "nearcast use --clear".`, { side: 'client' })
  return context
}

export function saveContext(context: Context, file = contextFile()): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  const draft = `${file}.${process.pid}`
  writeFileSync(draft, `${JSON.stringify(context, null, 2)}\n`, { mode: 0o600 })
  renameSync(draft, file)
}

export function clearContext(file = contextFile()): void {
  rmSync(file, { force: true })
}

function parse(text: string): Context | null {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return null
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null
  const context: Record<string, string> = {}
  for (const [member, held] of Object.entries(value)) {
    if (!MEMBERS.some((known) => known === member) || typeof held !== 'string' || held === '' || held.length > MAX_LENGTH) return null
    context[member] = held
  }
  return context
}
