/** What schemas find wrong, as people read it: the library's own sentences must still be those that are put into other words. */
import { expect, test } from 'vitest'
import { z } from 'zod'
import { issueText } from '../../lib/schema-issue.ts'

const schema = z.strictObject({ text: z.string().min(2).max(3), whole: z.int().min(3).max(9), more: z.number().gt(0).lt(5), list: z.array(z.int()).max(1), one: z.enum(['x', 'y']), own: z.string('use a name') })
const wrong = (value: unknown): string[] => (schema.safeParse(value).error?.issues ?? []).map((issue) => issueText(issue, 'body'))

test.each([
  [{}, ['text: it is missing (string)', 'whole: it is missing (number)', 'more: it is missing (number)', 'list: it is missing (array)', 'one: it must be one of "x"|"y"', 'own: use a name']],
  [{ text: 3, whole: 1, more: 0, list: [1, 2], one: 'z', own: 1 }, ['text: it is number, and should be string', 'whole: it must be at least 3', 'more: it must be more than 0', 'list: it must have at most 1 items', 'one: it must be one of "x"|"y"', 'own: use a name']],
  [{ text: 'a', whole: 10, more: 5, list: [1.5], one: 'x', own: '' }, ['text: it must have at least 2 characters', 'whole: it must be at most 9', 'more: it must be less than 5', 'list.0: it is number, and should be int']],
  [{ text: 'abcd', whole: 3, more: 1, list: [], one: 'x', own: '', other: 1 }, ['text: it must have at most 3 characters', 'body: Unrecognized key: "other"']],
  [null, ['body: it is null, and should be object']],
])('%#', (value, words) => {
  expect(wrong(value)).toEqual(words)
})
