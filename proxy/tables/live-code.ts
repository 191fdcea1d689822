/** A policy for live connections (lib/live-policy.ts) as the number that the table has room for: 0 none, 1 keep, 2 cut, else seconds + 2. Pure. */
import { LIVE_POLICY } from '../../lib/live-policy.ts'

const WORDS: readonly (string | undefined)[] = [undefined, 'keep', 'cut']

/** Text that is no policy counts as none, as it does there. */
export function liveCode(policy: string | undefined): number {
  const [, word, seconds] = LIVE_POLICY.exec(policy ?? '') ?? []
  return seconds === undefined ? Math.max(0, WORDS.indexOf(word)) : Number(seconds) + WORDS.length - 1
}

export function liveText(code: number): string | undefined {
  return code < WORDS.length ? WORDS[code] : `drain:${code - WORDS.length + 1}`
}
