/** What an engine says, kept and bounded. */
import { PassThrough, Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import { afterEach, expect, test, vi } from 'vitest'
import { LastWords } from '../../agent/redis/engine/last-words.ts'

afterEach(() => {
  vi.useRealTimers()
})

test('the last lines are kept, and not more of each than fits', async () => {
  const heard = vi.fn()
  const words = new LastWords(heard)
  const stream = new PassThrough()
  words.listen(stream)
  stream.write(`${Array.from({ length: 30 }, (_, index) => `line ${index}`).join('\n')}\n\n${'x'.repeat(5000)}\n`)
  await vi.waitFor(() => expect(heard).toHaveBeenCalled())
  expect(words.lines).toHaveLength(20)
  expect(words.lines[0]).toBe('line 11')
  expect(words.lines.at(-1)).toBe('x'.repeat(400))
})

test('a flood is read a little at a time: the rest waits in the pipe', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout'] })
  let written = 0
  // Gives as much as is taken, as an engine's pipe does.
  const pipe = new Readable({
    highWaterMark: 16 * 1024,
    read() {
      written += 6000
      process.nextTick(() => this.push('flood '.repeat(1000)))
    },
  })
  new LastWords(() => {}).listen(pipe)
  const untilItWaits = async (): Promise<number> => {
    const before = written
    while (!pipe.isPaused()) await setImmediate()
    return written - before
  }
  for (let round = 0; round < 5; round++) {
    expect(await untilItWaits()).toBeLessThan(100_000)
    vi.advanceTimersByTime(99)
    expect(pipe.isPaused()).toBe(true)
    vi.advanceTimersByTime(1)
    expect(pipe.isPaused()).toBe(false)
  }
  pipe.destroy()
})
