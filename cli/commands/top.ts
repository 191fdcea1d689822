/** `nearcast top`: the live picture, drawn anew every so often until q or Ctrl-C. */
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { InvalidArgumentError } from 'commander'
import type { Command } from 'commander'
import { asNearcastError } from '../../lib/errors.ts'
import { colours } from '../colours.ts'
import type { Session, WithSession } from './session.ts'

interface TopOptions {
  readonly once?: true
  readonly interval: number
}

/** Escape sequences: the other screen and back, cursor away and back, to the corner, the rest of the line or screen empty. */
const ENTER = '\u001B[?1049h\u001B[?25l'
const LEAVE = '\u001B[?25h\u001B[?1049l'
const HOME = '\u001B[H'
const CLEAR_LINE = '\u001B[K'
const CLEAR_BELOW = '\u001B[J'
const QUIT = new Set(['q', 'Q', '\u0003', '\u0004', '\u001B'])

export function addTopCommand(program: Command, withSession: WithSession): void {
  program
    .command('top')
    .description('live: connections, databases, nodes and latencies; q ends it (operators)')
    .option('--once', 'one picture, then end; so it is where output is no terminal, too')
    .option('--interval <seconds>', 'between two pictures', seconds, 2)
    .action((options: TopOptions, command: Command) =>
      withSession(command, async (session) => {
        const { liveObject, topScreen } = await import('../top.ts')
        const picture = async (rows: number): Promise<void> => {
          const live = await session.api.get('/v1/live', liveObject)
          session.output.show(live, () => topScreen(live, rows))
        }
        if (session.output.json && options.once !== true) return repeat(() => picture(0), options.interval, new AbortController().signal)
        if (options.once === true || !process.stdout.isTTY) return picture(Number.MAX_SAFE_INTEGER)
        return draw(session, options.interval, async (rows) => topScreen(await session.api.get('/v1/live', liveObject), rows))
      }),
    )
}

async function draw({ url }: Session, intervalSeconds: number, screen: (rows: number) => Promise<string[]>): Promise<void> {
  const { stdin, stdout } = process
  const ended = new AbortController()
  const onKey = (key: Buffer): void => {
    if (QUIT.has(key.toString())) ended.abort()
  }
  const raw = stdin.isTTY
  if (raw) stdin.setRawMode(true).on('data', onKey)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => ended.abort())
  stdout.write(ENTER)
  try {
    await repeat(
      async () => {
        const { rows, columns } = stdout
        const lines = await screen(rows - 2).catch((error: unknown) => [colours.red(asNearcastError(error).message)])
        const foot = colours.dim(`${url}   every ${intervalSeconds} s   q ends`)
        const shown = [...lines, '', foot].slice(0, rows).map((line) => cut(line, columns) + CLEAR_LINE)
        stdout.write(HOME + shown.join('\r\n') + CLEAR_BELOW)
      },
      intervalSeconds,
      ended.signal,
    )
  } finally {
    stdout.write(LEAVE)
    if (raw) stdin.setRawMode(false).off('data', onKey).pause()
  }
}

async function repeat(act: () => Promise<void>, intervalSeconds: number, ended: AbortSignal): Promise<void> {
  const end = once(ended, 'abort').catch(() => undefined)
  while (!ended.aborted) {
    await Promise.race([act(), end])
    await delay(intervalSeconds * 1000, undefined, { signal: ended }).catch(() => undefined)
  }
}

/** To so many columns; escape sequences take none. */
function cut(line: string, columns: number): string {
  let width = 0
  let text = ''
  // oxlint-disable-next-line no-control-regex -- colours are made of them
  for (const [part] of line.matchAll(/\u001B\[[\d;]*m|./gu)) {
    if (part.length > 1 && part.startsWith('\u001B')) text += part
    else if (width++ < columns) text += part
  }
  return text
}

function seconds(text: string): number {
  const value = Number(text)
  if (!(value >= 0.2 && value <= 3600)) throw new InvalidArgumentError('It is a number of seconds from 0.2 to 3600.')
  return value
}
