/**
 * Configuration: one TOML file per program, overridden by environment variables, checked by one schema.
 *
 * The key `hop.listen` of a proxy is overridden by NEARCAST_PROXY_HOP_LISTEN (value: a TOML value, or a bare string).
 * Unknown keys are errors: a misspelt limit must not be silently without effect. nearcast.example.toml is the manual.
 */
import { readFileSync } from 'node:fs'
import { parse, stringify, TomlError } from 'smol-toml'
import { z } from 'zod'
import { NearcastError } from './errors.ts'
import { issueText } from './schema-issue.ts'

export interface ConfigSource {
  /** Path of the TOML file; undefined reads the environment alone. */
  readonly file?: string | undefined
  /** `PROXY`, `ROUTER`, `AGENT` … */
  readonly program: string
  readonly env?: NodeJS.ProcessEnv
}

type Table = Record<string, unknown>

/** A configuration as the text of its file, for whoever starts a program. */
export function formatConfig(table: Readonly<Record<string, unknown>>): string {
  return stringify(table)
}

/** @throws NearcastError config.missing (no such file), config.invalid (names the key and what it may be). */
export function loadConfig<Schema extends z.ZodType>(schema: Schema, source: ConfigSource): z.infer<Schema> {
  const table = source.file === undefined ? {} : readToml(source.file)
  applyEnvironment(table, schema, `NEARCAST_${source.program}_`, source.env ?? process.env)
  const result = schema.safeParse(table)
  if (result.success) return result.data
  const lines = result.error.issues.map((issue) => issueText(issue))
  throw new NearcastError('config.invalid', `${source.file ?? 'environment'}: ${lines.join('; ')}. nearcast.example.toml shows every key.`)
}

function readToml(file: string): Table {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new NearcastError('config.missing', `Can't read the configuration ${file}; name another with --config.`, { cause: error })
  }
  try {
    return parse(text)
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    const why = error.message.split('\n')[0] ?? ''
    throw new NearcastError('config.invalid', `${file}:${error.line}:${error.column}: ${why}`, { cause: error })
  }
}

/** Walks the schema, not the environment, so that a variable that fits no key is simply not ours. */
function applyEnvironment(table: Table, schema: z.ZodType, prefix: string, env: NodeJS.ProcessEnv): void {
  const object = unwrap(schema)
  if (!(object instanceof z.ZodObject)) return
  for (const [key, field] of Object.entries(object.shape)) {
    const name = prefix + key.replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2').replaceAll('-', '_').toUpperCase()
    if (unwrap(field) instanceof z.ZodObject) {
      const nested = table[key] ?? {}
      // What is no table in the file is left for the schema to refuse.
      if (isTable(nested)) {
        applyEnvironment(nested, field, `${name}_`, env)
        if (Object.keys(nested).length > 0) table[key] = nested
      }
    }
    const value = env[name]
    if (value !== undefined) table[key] = tomlValue(value)
  }
}

function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function unwrap(schema: z.ZodType): z.ZodType {
  let inner = schema
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault) {
    inner = inner.unwrap() as z.ZodType
  }
  return inner
}

function tomlValue(text: string): unknown {
  try {
    return (parse(`value = ${text}`) as Table)['value']
  } catch {
    return text
  }
}
