/** Configuration: the file, the environment above it, and messages that name the key. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { loadConfig } from '../../lib/config.ts'
import { NearcastError } from '../../lib/errors.ts'

const schema = z.strictObject({
  id: z.string(),
  plane: z.enum(['auto', 'portable']).default('auto'),
  hop: z.strictObject({ listen: z.string().default('[::]:7400'), socket: z.string().optional() }).prefault({}),
  dial: z.strictObject({ connectTimeoutMs: z.int().min(1).default(1000) }).prefault({}),
  ingress: z.array(z.strictObject({ interface: z.string() })).default([]),
  token: z.string().max(4).optional(),
})

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'nearcast-config-'))
})
afterAll(() => rmSync(dir, { recursive: true }))

function load(toml: string, env: NodeJS.ProcessEnv = {}): z.infer<typeof schema> {
  const file = join(dir, 'proxy.toml')
  writeFileSync(file, toml)
  return loadConfig(schema, { file, program: 'PROXY', env })
}

function failure(run: () => unknown): NearcastError {
  try {
    run()
  } catch (error) {
    if (error instanceof NearcastError) return error
    throw error
  }
  throw new Error('it did not fail')
}

test('defaults, file, environment, in that order', () => {
  expect(load('id = "a"')).toEqual({ id: 'a', plane: 'auto', hop: { listen: '[::]:7400' }, dial: { connectTimeoutMs: 1000 }, ingress: [] })
  const toml = 'id = "a"\n[dial]\nconnectTimeoutMs = 2\n[[ingress]]\ninterface = "eth0"'
  expect(load(toml)).toMatchObject({ dial: { connectTimeoutMs: 2 }, ingress: [{ interface: 'eth0' }] })
  const env = { NEARCAST_PROXY_DIAL_CONNECT_TIMEOUT_MS: '3', NEARCAST_PROXY_HOP_LISTEN: '[::1]:1', NEARCAST_PROXY_INGRESS: '[{ interface = "eth1" }]' }
  expect(load(toml, env)).toMatchObject({ dial: { connectTimeoutMs: 3 }, hop: { listen: '[::1]:1' }, ingress: [{ interface: 'eth1' }] })
})

test('without a file the environment is enough; others\' variables are not ours', () => {
  const env = { NEARCAST_PROXY_ID: 'a', NEARCAST_AGENT_ID: 'b', NEARCAST_PROXY_NOSUCH: '1' }
  expect(loadConfig(schema, { program: 'PROXY', env }).id).toBe('a')
})

test('a variable is a TOML value or a bare string', () => {
  expect(load('id = "a"', { NEARCAST_PROXY_ID: '"12"' }).id).toBe('12')
  expect(load('id = "a"', { NEARCAST_PROXY_ID: 'mad-1' }).id).toBe('mad-1')
  expect(failure(() => load('id = "a"', { NEARCAST_PROXY_DIAL_CONNECT_TIMEOUT_MS: 'soon' })).message).toContain('dial.connectTimeoutMs')
  expect(load('id = "a"', { NEARCAST_PROXY_ID: 'x"\nplane = "portable' })).toMatchObject({ id: 'x"\nplane = "portable', plane: 'auto' })
})

test.each<[string, string, RegExp]>([
  ['a missing key', '', /: id: /],
  ['a misspelt key', 'id = "a"\nplain = "auto"', /plain/],
  ['a misspelt key in a table', 'id = "a"\n[dial]\nconectTimeoutMs = 1', /dial: .*conectTimeoutMs/],
  ['a value out of a list, with the list', 'id = "a"\nplane = "uring2"', /plane: .*auto.*portable/],
  ['a number out of range, with the range', 'id = "a"\n[dial]\nconnectTimeoutMs = 0', /dial\.connectTimeoutMs: .*1/],
  ['a wrong type', 'id = 7', /: id: .*string/],
  ['an element of a list', 'id = "a"\n[[ingress]]\ninterface = 1', /ingress\.0\.interface/],
  ['two faults at once', 'plane = "x"', /id: .*; plane: /],
  ['a table that is a value', 'id = "a"\nhop = 3', /hop: /],
])('%s is named', (_name, toml, message) => {
  const error = failure(() => load(toml))
  expect(error).toMatchObject({ code: 'config.invalid' })
  expect(error.message).toMatch(message)
  expect(error.message).toMatch(/proxy\.toml: .*nearcast\.example\.toml/)
  expect(error.message.split('\n').length).toBe(1)
})

test('a table that is a value stays a coded error when a variable points into it', () => {
  for (const wrong of ['hop = 3', 'hop = "x"', 'hop = [1]', 'hop = true']) {
    const error = failure(() => load(`id = "a"\n${wrong}`, { NEARCAST_PROXY_HOP_LISTEN: '[::1]:1' }))
    expect(error).toMatchObject({ code: 'config.invalid' })
    expect(error.message).toContain('hop: ')
  }
})

test('broken TOML is named by its line and column, on one line', () => {
  const error = failure(() => load('id = "a"\n[dial\n'))
  expect(error.code).toBe('config.invalid')
  expect(error.message).toMatch(/proxy\.toml:2:\d+: /)
  expect(error.message.split('\n').length).toBe(1)
})

test('no value stands in a message: it may be a secret', () => {
  expect(failure(() => load('id = "a"\ntoken = "hunter2hunter2"')).message).not.toContain('hunter2')
  expect(failure(() => load('token = "hunter2" id')).message).not.toContain('hunter2')
  expect(failure(() => load('id = "a"', { NEARCAST_PROXY_TOKEN: 'hunter2' })).message).not.toContain('hunter2')
})

test('no such file', () => {
  const error = failure(() => loadConfig(schema, { file: join(dir, 'none.toml'), program: 'PROXY', env: {} }))
  expect(error).toMatchObject({ code: 'config.missing' })
  expect(error.message).toMatch(/none\.toml.*--config/)
  expect(failure(() => loadConfig(schema, { file: dir, program: 'PROXY', env: {} })).code).toBe('config.missing')
})
