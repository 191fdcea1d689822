/**
 * How to tell that the application behind a receiver got the payload: it is sent something that it answers in a known way.
 * The answer must START so: what answers a header as if it were a request, and then the payload, has not read the header.
 */
import { NearcastError } from '../../lib/errors.ts'

export interface Conversation {
  /** `redis`, or `custom`. */
  readonly name: string
  readonly payload: Uint8Array
  readonly isAnswer: (text: string) => boolean
  /** What is waited for, for people. */
  readonly expected: string
}

interface Known {
  readonly payload: string
  readonly expect: string | RegExp
}

export const KNOWN: Readonly<Record<string, Known>> = {
  // Redis that wants a password first answers PING, too.
  redis: { payload: 'PING\r\n', expect: /^(\+PONG\r\n|-NOAUTH |-NOPERM )/ },
  // 400 is what an HTTP server says to a header that it takes for a request.
  http: { payload: 'GET / HTTP/1.1\r\nhost: nearcast.example\r\nconnection: close\r\n\r\n', expect: /^HTTP\/1\.[01] (?!400)[1-5]\d\d/ },
  echo: { payload: 'nearcast\n', expect: 'nearcast\n' },
  smtp: { payload: '', expect: '220' },
  ssh: { payload: '', expect: 'SSH-' },
}

/** `payload` and `expect` are as typed: \r \n \t \0 \xHH \\ are understood; an `expect` between slashes is a pattern. */
export function conversationOf(speaks: string, payload?: string, expect?: string): Conversation {
  const known = KNOWN[speaks]
  if (known === undefined) throw usage(`--speaks is one of ${Object.keys(KNOWN).join(', ')}; for anything else give --payload and --expect.`)
  if (payload !== undefined && expect === undefined) throw usage('--payload needs --expect: how the answer to it begins.')
  const expected = expect === undefined ? known.expect : pattern(expect)
  return {
    name: expect === undefined ? speaks : 'custom',
    payload: Buffer.from(payload === undefined ? known.payload : unescaped(payload), 'latin1'),
    isAnswer: typeof expected === 'string' ? (text) => text.startsWith(expected) : (text) => expected.test(text),
    expected: typeof expected === 'string' ? JSON.stringify(expected) : String(expected),
  }
}

function pattern(expect: string): string | RegExp {
  const source = /^\/(.+)\/$/s.exec(expect)?.[1]
  const plain = unescaped(expect)
  if (plain === '') throw usage('--expect is not empty: without an answer nothing can be told.')
  if (source === undefined) return plain
  try {
    return new RegExp(`^(?:${source})`)
  } catch (cause) {
    throw usage(`--expect ${expect} is no regular expression.`, cause)
  }
}

function unescaped(typed: string): string {
  const bytes = Buffer.from(typed, 'utf8').toString('latin1')
  return bytes.replaceAll(/\\(?:x([0-9a-fA-F]{2})|([rnt0\\]))/g, (_all, hex: string | undefined, letter: string | undefined) =>
    hex === undefined ? { r: '\r', n: '\n', t: '\t', 0: '\0' }[letter ?? ''] ?? '\\' : String.fromCharCode(Number.parseInt(hex, 16)),
  )
}

function usage(message: string, cause?: unknown): NearcastError {
  return new NearcastError('cli.usage', message, { side: 'client', cause })
}
