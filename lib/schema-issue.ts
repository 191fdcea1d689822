/**
 * What a schema finds wrong, in words for whoever wrote the value: a configuration, a body of the API. Words that a schema
 * has of its own stay. Pure.
 */
import type { z } from 'zod'

const WORDS: readonly (readonly [RegExp, string])[] = [
  [/^Invalid input: expected (\w+), received undefined$/, 'it is missing ($1)'],
  [/^Invalid input: expected (\w+), received (\w+)$/, 'it is $2, and should be $1'],
  [/^Invalid option: expected one of (.+)$/, 'it must be one of $1'],
  [/^Too small: expected \w+ to be >=(.+)$/, 'it must be at least $1'],
  [/^Too small: expected \w+ to be >(.+)$/, 'it must be more than $1'],
  [/^Too big: expected \w+ to be <=(.+)$/, 'it must be at most $1'],
  [/^Too big: expected \w+ to be <(.+)$/, 'it must be less than $1'],
  [/^Too small: expected \w+ to have >=(.+)$/, 'it must have at least $1'],
  [/^Too big: expected \w+ to have <=(.+)$/, 'it must have at most $1'],
]

/** `where`: what the value is called when all of it is meant. */
export function issueText({ path, message }: Pick<z.core.$ZodIssue, 'path' | 'message'>, where = ''): string {
  const key = path.join('.') || where
  const [pattern, words] = WORDS.find(([each]) => each.test(message)) ?? []
  const text = pattern === undefined || words === undefined ? message : message.replace(pattern, words)
  return key === '' ? text : `${key}: ${text}`
}
