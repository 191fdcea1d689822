/** A program's life, from start to stop, with parts that behave and parts that don't. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Lifecycle } from '../../lib/lifecycle.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

const never = (): Promise<void> => new Promise(() => {})

test('starting, ready, draining, stopped', async () => {
  const life = new Lifecycle()
  let during = ''
  life.started('part', () => {
    during = life.state
  })
  expect(life.state).toBe('starting')
  life.ready()
  expect(life.state).toBe('ready')
  expect(await life.stop()).toEqual([])
  expect(during).toBe('draining')
  expect(life.state).toBe('stopped')
  life.ready()
  expect(life.state).toBe('stopped')
})

test('the last started is stopped first, one after the other, once', async () => {
  const life = new Lifecycle()
  const events: string[] = []
  for (const name of ['store', 'api', 'feed']) {
    life.started(name, async () => {
      events.push(`${name} stops`)
      await Promise.resolve()
      events.push(`${name} stopped`)
    })
  }
  await Promise.all([life.stop(), life.stop()])
  await life.stop()
  expect(events).toEqual(['feed stops', 'feed stopped', 'api stops', 'api stopped', 'store stops', 'store stopped'])
})

test('parts that throw, reject or hang are named; the others get their turn', async () => {
  const life = new Lifecycle(1000)
  const stopped: string[] = []
  life.started('first', () => void stopped.push('first'))
  life.started('throws', () => {
    throw new Error('no')
  })
  life.started('rejects', () => Promise.reject(new Error('no')))
  life.started('hangs', never)
  life.started('last', () => void stopped.push('last'))
  const stopping = life.stop()
  await vi.advanceTimersByTimeAsync(1000)
  // After the limit the rest is stopped at once, so what throws is known before what rejects.
  expect(await stopping).toEqual(['hangs', 'throws', 'rejects'])
  expect(stopped).toEqual(['last', 'first'])
})

test('stopping ends within twice the limit however many parts hang, and those that need time have it', async () => {
  const life = new Lifecycle(1000)
  let slowStopped = false
  life.started('slow', async () => {
    await new Promise((resolve) => setTimeout(resolve, 900))
    slowStopped = true
  })
  for (const name of ['a', 'b', 'c', 'd']) life.started(name, never)
  let failed: string[] | undefined
  void life.stop().then((names) => (failed = names))
  await vi.advanceTimersByTimeAsync(1999)
  expect(failed).toBeUndefined()
  expect(slowStopped).toBe(true)
  await vi.advanceTimersByTimeAsync(1)
  expect(failed?.toSorted()).toEqual(['a', 'b', 'c', 'd'])
})

test('what ends its start while the program stops is stopped too', async () => {
  const life = new Lifecycle()
  const stopped: string[] = []
  life.started('slow start', () => {
    life.started('late', () => void stopped.push('late'))
    stopped.push('slow start')
  })
  await life.stop()
  life.started('too late', () => void stopped.push('too late'))
  expect(stopped).toEqual(['slow start', 'late', 'too late'])
})

const PROGRAM = `
  import { Lifecycle, stopOnSignals } from '${join(import.meta.dirname, '../../lib/lifecycle.ts')}'
  const life = new Lifecycle(50)
  const keepAlive = setInterval(() => {}, 1000)
  life.started('part', () => process.argv.at(-1) === 'hangs' ? new Promise(() => {}) : undefined)
  stopOnSignals(life, (failed) => process.stdout.write(failed.join()))
  process.stdout.write('ready ')
`

test.each([
  ['SIGTERM', 'well', 0, 'ready '],
  ['SIGINT', 'well', 0, 'ready '],
  ['SIGTERM', 'hangs', 1, 'ready part'],
] as const)('%s to a program that stops %s: exit code %d', async (signal, how, code, output) => {
  vi.useRealTimers()
  const child = spawn(process.execPath, ['--input-type=module', '-e', PROGRAM, how], { stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString()
    if (text === 'ready ') child.kill(signal)
  })
  const [exitCode] = (await once(child, 'close')) as [number | null]
  expect(exitCode).toBe(code)
  expect(text).toBe(output)
})
