/** Log lines: their members, their level, and no secret however deep it stands. */
import { expect, test } from 'vitest'
import type { Logger, LogLevel } from '../../lib/log.ts'
import { createLogger } from '../../lib/log.ts'

function record(level?: LogLevel): { log: Logger; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = []
  const log = createLogger('proxy', level, { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) })
  return { log, lines }
}

test('a line says when, who and what', () => {
  const { log, lines } = record()
  log.info({ node: 'gru-1' }, 'ready')
  expect(lines).toEqual([{ level: 30, time: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/) as string, program: 'proxy', node: 'gru-1', msg: 'ready' }])
})

test('levels', () => {
  const { log, lines } = record('warn')
  log.info('no')
  log.warn('yes')
  expect(lines.map((line) => line['msg'])).toEqual(['yes'])
  const silent = record('silent')
  silent.log.error('no')
  expect(silent.lines).toEqual([])
})

const SECRET = 'hunter2'
test.each<[string, Record<string, unknown>]>([
  ['at the top', { password: SECRET, token: SECRET, key: SECRET, authorization: SECRET, secret: SECRET }],
  ['one below', { redis: { replicationSecret: SECRET, passwordSha256: SECRET } }],
  ['two below', { change: { row: { password: SECRET } } }],
  ['in lists', { rows: [{ row: { keys: [{ epoch: 1, key: SECRET }] } }] }],
  ['in lists of lists', { rows: [[[{ token: SECRET }]]] }],
  ['in an object without a prototype', { row: Object.assign(Object.create(null) as object, { deep: { token: SECRET } }) }],
])('secrets %s', (_name, members) => {
  const { log, lines } = record()
  log.info(members, 'line')
  expect(lines.length).toBe(1)
  expect(JSON.stringify(lines)).not.toContain(SECRET)
  expect(JSON.stringify(lines)).toContain('[secret]')
})

test('secrets in the bindings of a child', () => {
  const { log, lines } = record()
  log.child({ token: SECRET, node: { id: 'gru-1', keys: SECRET } }).info('line')
  expect(JSON.stringify(lines)).not.toContain(SECRET)
  expect(lines[0]).toMatchObject({ node: { id: 'gru-1' } })
})

test('what is logged is not changed, and what is no secret stays', () => {
  const { log, lines } = record()
  const row = { id: 'db1', list: [1, { port: 6379 }], none: null, token: SECRET }
  log.info({ row, when: new Date(0) })
  expect(row.token).toBe(SECRET)
  expect(lines[0]).toMatchObject({ row: { id: 'db1', list: [1, { port: 6379 }], none: null, token: '[secret]' }, when: '1970-01-01T00:00:00.000Z' })
})

test('errors keep type and message; cycles end', () => {
  const { log, lines } = record()
  log.error(new TypeError('boom'))
  const cycle: Record<string, unknown> = { name: 'loop' }
  cycle['self'] = cycle
  log.info({ cycle }, 'round')
  expect(lines[0]).toMatchObject({ err: { type: 'TypeError', message: 'boom' }, msg: 'boom' })
  expect(lines[1]).toMatchObject({ msg: 'round', cycle: { name: 'loop' } })
})
