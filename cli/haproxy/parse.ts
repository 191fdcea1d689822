/**
 * An HAProxy configuration as sections of words. Only the form: quotes, escapes, comments, sections; what the words mean is
 * translate.ts's business. Pure. See HAProxy's configuration.txt, section 2.
 */
export interface Line {
  /** From 1. */
  readonly number: number
  readonly text: string
  readonly words: readonly string[]
}

export interface Section {
  /** `global`, `defaults`, `frontend`, `backend`, `listen` … */
  readonly keyword: string
  readonly name: string
  readonly head: Line
  readonly lines: readonly Line[]
}

const KEYWORDS = new Set(['global', 'defaults', 'frontend', 'backend', 'listen', 'resolvers', 'peers', 'userlist', 'cache', 'mailers', 'program', 'ring', 'http-errors', 'fcgi-app', 'log-forward', 'crt-store', 'traces', 'acme'])

/** Lines before the first section come under the keyword ''. */
export function parseHaproxy(text: string): Section[] {
  const sections: { keyword: string; name: string; head: Line; lines: Line[] }[] = []
  for (const [index, raw] of text.split(/\r?\n/).entries()) {
    const line: Line = { number: index + 1, text: raw.trim(), words: split(raw) }
    const [keyword] = line.words
    if (keyword === undefined) continue
    if (KEYWORDS.has(keyword)) sections.push({ keyword, name: line.words[1] ?? '', head: line, lines: [] })
    else if (sections.length === 0) sections.push({ keyword: '', name: '', head: line, lines: [line] })
    else sections.at(-1)?.lines.push(line)
  }
  return sections
}

/** Blanks part words; quotes and backslashes keep them, # begins a comment. */
function split(line: string): string[] {
  const words: string[] = []
  let word: string | null = null
  let quote = ''
  for (let index = 0; index < line.length; index++) {
    const character = line.charAt(index)
    if (quote !== '') {
      if (character === quote) quote = ''
      else if (character === '\\' && quote === '"') word = (word ?? '') + line.charAt(++index)
      else word = (word ?? '') + character
    } else if (character === '"' || character === "'") {
      quote = character
      word ??= ''
    } else if (character === '\\') word = (word ?? '') + line.charAt(++index)
    else if (character === '#') break
    else if (/\s/.test(character)) {
      if (word !== null) words.push(word)
      word = null
    } else word = (word ?? '') + character
  }
  return word === null ? words : [...words, word]
}
