/** `nearcast proxy-protocol check`: what any receiver of PROXY headers makes of sound, odd and hostile ones. */
import type { Command } from 'commander'
import { InvalidArgumentError } from 'commander'
import { createOutput } from '../output.ts'
import type { GlobalOptions } from './global-options.ts'
import { whole } from './values.ts'

interface CheckFlags {
  readonly speaks: string
  readonly payload?: string
  readonly expect?: string
  readonly only?: readonly (1 | 2)[]
  readonly timeout: number
  readonly connections: number
  readonly slow?: true
}

export function addProxyProtocolCommand(program: Command): void {
  program
    .command('proxy-protocol')
    .description('the PROXY protocol: try receivers')
    .command('check <receiver>')
    .description('send edge cases and known failures to a receiver (host:port, [v6]:port, unix:/path), and report; exits 1 when one fails')
    .option('--speaks <protocol>', 'what the application behind it speaks: redis, http, echo, smtp, ssh', 'redis')
    .option('--payload <text>', 'anything else: what to send behind the header (\\r \\n \\xHH are understood; empty where the server speaks first)')
    .option('--expect <text>', 'how the answer begins; /…/ is a regular expression')
    .option('--only <version>', 'v1 or v2: that version must be spoken (else either)', version)
    .option('--timeout <ms>', 'how long to wait for an answer', within(50, 60_000), 2000)
    .option('--connections <count>', 'at the same time', within(1, 64), 4)
    .option('--slow', 'also cases that take up to 15 seconds: late headers, silence')
    .addHelpText('after', '\nRun it from a host that the receiver takes headers from. It sends nothing but the payload and headers.')
    .action(async (name: string, flags: CheckFlags, command: Command) => {
      const [{ check }, { conversationOf }, { parseReceiver }, { checkLines }] = await Promise.all([
        import('../proxy-protocol-check/check.ts'),
        import('../proxy-protocol-check/conversation.ts'),
        import('../proxy-protocol-check/receiver.ts'),
        import('../proxy-protocol-check/report.ts'),
      ])
      const { speaks, payload, expect, only, timeout, connections, slow } = flags
      const output = createOutput(command.optsWithGlobals<GlobalOptions>().json === true)
      const report = await check({
        receiver: parseReceiver(name),
        name,
        conversation: conversationOf(speaks, payload, expect),
        versions: only ?? [1, 2],
        timeoutMs: timeout,
        connections,
        slow: slow === true,
        progress: (line) => output.hint(line),
      })
      output.show(report, () => checkLines(report))
      if (!report.passed) process.exitCode = 1
    })
}

function version(text: string): readonly (1 | 2)[] {
  if (text === 'v1' || text === '1') return [1]
  if (text === 'v2' || text === '2') return [2]
  throw new InvalidArgumentError('It is v1 or v2.')
}

function within(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = whole(text)
    if (value < least || value > most) throw new InvalidArgumentError(`It is a number from ${least} to ${most}.`)
    return value
  }
}
