/** What the end of a step of the demo means. */
import { expect, test } from 'vitest'
import { verdict } from '../../cli/demo/demo.ts'
import { Skipped } from '../../cli/demo/step.ts'

test('a step holds, fails with a sentence, or is skipped with its reason and fails nobody', () => {
  expect(verdict(null)).toEqual({ ok: true })
  expect(verdict(new Error('No PONG.'))).toEqual({ ok: false, error: 'No PONG.' })
  expect(verdict(new Skipped('PostgreSQL is not installed.'))).toEqual({ ok: true, skipped: 'PostgreSQL is not installed.' })
})
