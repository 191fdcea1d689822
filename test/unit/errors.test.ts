/** The table of codes, the page that explains them, and the class that carries them. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { ErrorCode } from '../../lib/errors.ts'
import { asNearcastError, CODES, NearcastError } from '../../lib/errors.ts'

const root = join(import.meta.dirname, '../..')
const rows = readFileSync(join(root, 'docs/errors.md'), 'utf8').split('\n').filter((line) => line.startsWith('| `'))
const documented = rows.map((row) => /^\| `([^`]+)` \|/.exec(row)?.[1] ?? row)

test('every code is explained, and everything explained is a code', () => {
  expect(documented.toSorted()).toEqual(Object.keys(CODES).toSorted())
})

test('each explanation has a meaning and something to do', () => {
  for (const row of rows) expect(row).toMatch(/^\| `[a-z0-9.-]+` \| [^|]{10,} \| [^|]{8,} \|$/)
})

test('codes are words with a dot, statuses are errors of HTTP', () => {
  for (const [code, status] of Object.entries(CODES)) {
    expect(code).toMatch(/^(internal|[a-z]+(-[a-z]+)*\.[a-z0-9]+(-[a-z0-9]+)*)$/)
    expect(status).toBeGreaterThanOrEqual(400)
    expect(status).toBeLessThan(600)
  }
})

test('no code is left over', () => {
  const sources = ['lib', 'proxy', 'router', 'agent', 'cli'].flatMap((room) =>
    readdirSync(join(root, room), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && join(room, file) !== 'lib/errors.ts')
      .map((file) => readFileSync(join(root, room, file), 'utf8')),
  )
  const used = new Set(sources.flatMap((source) => [...source.matchAll(/'([a-z-]+\.[a-z0-9-]+|internal)'/g)].map((match) => match[1])))
  used.add('internal')
  expect(Object.keys(CODES).filter((code) => !used.has(code))).toEqual([])
})

test('an error carries code, side, status, cause', () => {
  const cause = new Error('below')
  const error = new NearcastError('address.invalid', 'Say it right.', { side: 'client', retryable: true, cause })
  expect(error).toMatchObject({ code: 'address.invalid', side: 'client', retryable: true, status: 400, name: 'NearcastError', cause })
  const plain = new NearcastError('internal', 'Look into the log.')
  expect(plain).toMatchObject({ side: 'self', retryable: false, status: 500 })
  expect('cause' in plain).toBe(false)
})

test.each<[string, unknown, ErrorCode, string]>([
  ['one of ours', new NearcastError('config.missing', 'm'), 'config.missing', 'm'],
  ['a foreign error', new TypeError('x is not y'), 'internal', 'x is not y'],
  ['a string', 'oops', 'internal', 'oops'],
  ['nothing', undefined, 'internal', 'undefined'],
])('anything thrown becomes one: %s', (_name, thrown, code, message) => {
  const error = asNearcastError(thrown)
  expect(error).toMatchObject({ code, message })
  expect(error === thrown || error.cause === thrown).toBe(true)
})
