/** nearcast.example.toml is the manual of the configuration: every key stands in it, and what it says of each is true. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { agentConfig } from '../../agent/config.ts'
import { loadConfig } from '../../lib/config.ts'
import { proxyConfig } from '../../proxy/config.ts'
import { loadRouterConfig, routerConfig } from '../../router/config.ts'
import { backboneConfig } from '../../router/backbone/config.ts'
import { gatewayConfig } from '../../router/gateway/config.ts'

const SCHEMAS = { router: routerConfig, agent: agentConfig, proxy: proxyConfig, gateway: gatewayConfig, backbone: backboneConfig } as const satisfies Record<string, z.ZodType>
type Program = keyof typeof SCHEMAS
const PROGRAMS = ['router', 'agent', 'proxy', 'gateway', 'backbone'] as const satisfies readonly Program[]

const text = readFileSync(new URL('../../nearcast.example.toml', import.meta.url), 'utf8')
const parts = text.split(/^# =+ (\w+)\.toml =+$/m)
const sections = new Map(parts.flatMap((name, index) => (index % 2 === 1 ? [[name, parts[index + 1] ?? ''] as const] : [])))

interface Entry {
  /** `dial.connectTimeoutMs` */
  readonly key: string
  readonly required: boolean
  /** "No default" stands in the comment above. */
  readonly example: boolean
}

/** The keys of a section, as its reader sees them. */
function entries(section: string): Entry[] {
  const found: Entry[] = []
  let table = ''
  let prose = ''
  for (const line of section.split('\n')) {
    const header = /^#?\[\[?([\w.]+)\]\]?$/.exec(line)
    const key = /^(#?)(\w+) = /.exec(line)
    if (header) table = `${header[1] ?? ''}.`
    if (key) found.push({ key: table + (key[2] ?? ''), required: key[1] === '', example: /no default/i.test(prose) })
    prose = line.startsWith('# ') ? prose + line : ''
  }
  return found
}

/** The same text with every `#key = value` in force. */
function active(section: string): string {
  return section.replaceAll(/^#(?=[[\w])/gm, '')
}

function unwrap(schema: unknown): unknown {
  return schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault ? unwrap(schema.unwrap()) : schema
}

function schemaKeys(schema: unknown, path = ''): string[] {
  const inner = unwrap(schema)
  const object = inner instanceof z.ZodArray ? unwrap(inner.element) : inner
  if (!(object instanceof z.ZodObject)) return [path.slice(0, -1)]
  return Object.entries(object.shape).flatMap(([key, field]) => schemaKeys(field, `${path}${key}.`))
}

function valueAt(config: unknown, key: string): unknown {
  return key.split('.').reduce<unknown>((value, part) => {
    const one = Array.isArray(value) ? (value[0] as unknown) : value
    return typeof one === 'object' && one !== null ? (one as Record<string, unknown>)[part] : undefined
  }, config)
}

let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'nearcast-example-'))
})
afterAll(() => rmSync(directory, { recursive: true }))

function load(program: Program, toml: string): unknown {
  const file = join(directory, `${program}.toml`)
  writeFileSync(file, toml)
  return loadConfig(SCHEMAS[program], { program: program.toUpperCase(), file, env: {} })
}

test('it has one section for each program', () => {
  expect([...sections.keys()]).toEqual([...PROGRAMS])
})

describe.each(PROGRAMS)('%s.toml', (program) => {
  const section = sections.get(program) ?? ''
  const listed = entries(section)

  test('holds every key of the schema, each once, and no other', () => {
    expect(listed.map((entry) => entry.key).toSorted()).toEqual(schemaKeys(SCHEMAS[program]).toSorted())
  })

  test('loads as it stands, and with every line in force', () => {
    load(program, section)
    const full = load(program, active(section))
    for (const { key } of listed) expect([key, valueAt(full, key)]).not.toEqual([key, undefined])
  })

  test('shows the true defaults', () => {
    const defaults = load(program, section)
    const full = load(program, active(section))
    for (const { key, required, example } of listed) {
      if (required) continue
      const value = valueAt(defaults, key)
      if (example) expect([key, value]).toEqual([key, undefined])
      else expect([key, value]).toEqual([key, valueAt(full, key)])
    }
  })

  test('needs every key that it sets', () => {
    for (const { key, required } of listed) {
      if (required) expect(() => load(program, section.replace(new RegExp(`^${key} = .*$`, 'm'), ''))).toThrow(key)
    }
  })
})

test('the router accepts it with its further checks', () => {
  const file = join(directory, 'router.toml')
  writeFileSync(file, active(sections.get('router') ?? ''))
  expect(loadRouterConfig(file, {})).toMatchObject({ id: 'main', prefix: 0xfdaa })
})
