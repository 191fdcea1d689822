/** The engine's own slow log (SLOWLOG GET), shortened: it holds what a client said. Pure. */
import type { SlowCommand } from '../../../lib/feed/questions.ts'
import type { Reply } from '../resp/reply-decoder.ts'

export const SLOW_LOG_COMMAND = ['SLOWLOG', 'GET', '10']
const MAX_WORDS = 4
const MAX_WORD_CHARACTERS = 40

export function slowLog(reply: Reply | undefined): SlowCommand[] {
  if (reply?.kind !== 'list') return []
  return reply.items.flatMap((entry) => {
    const [, at, micros, words] = entry.kind === 'list' ? entry.items : []
    if (at?.kind !== 'number' || micros?.kind !== 'number' || words?.kind !== 'list') return []
    const said = words.items.map((word) => (word.kind === 'text' ? word.text : ''))
    const shown = said.slice(0, MAX_WORDS).map((word) => (word.length > MAX_WORD_CHARACTERS ? `${word.slice(0, MAX_WORD_CHARACTERS)}…` : word))
    return [{ at: new Date(at.value * 1000).toISOString(), ms: micros.value / 1000, command: `${shown.join(' ')}${said.length > MAX_WORDS ? ' …' : ''}` }]
  })
}
