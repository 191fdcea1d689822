/**
 * What the router asks agents about databases, over the feed's `ask`: name, parameters and answer of each question. An
 * agent answers what it refuses as a value (`refused`), so that its code and sentence reach the one who asked the router.
 */
import { z } from 'zod'
import { CODES } from '../errors.ts'
import type { ErrorCode } from '../errors.ts'

const service = z.string().min(1).max(64)

export const QUESTIONS = {
  /** Whether the database's engine takes these rules for a user. */
  'redis.check-rules': { params: z.object({ service, rules: z.array(z.string().max(160)).max(64) }), answer: z.object({}) },
} as const

export type QuestionName = keyof typeof QUESTIONS
export type QuestionParams<Name extends QuestionName> = z.infer<(typeof QUESTIONS)[Name]['params']>
export type QuestionAnswer<Name extends QuestionName> = z.infer<(typeof QUESTIONS)[Name]['answer']>

export const refusedAnswer = z.object({ refused: z.object({ code: z.string().max(64), message: z.string().max(512) }) })

export function isQuestion(name: string): name is QuestionName {
  return Object.hasOwn(QUESTIONS, name)
}

/** Of a program that may be newer. */
export function knownCode(code: string): ErrorCode {
  return Object.hasOwn(CODES, code) ? (code as ErrorCode) : 'feed.ask-failed'
}
