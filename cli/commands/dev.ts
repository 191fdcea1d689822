/** `nearcast dev …`: a whole cluster on this machine, commands inside it, faults on demand. dev-work.ts does the work. */
import { InvalidArgumentError } from 'commander'
import type { Command } from 'commander'
import { VERBS } from '../dev/kept-program.ts'
import type { Verb } from '../dev/kept-program.ts'
import type { StartOptions } from './dev-start.ts'
import type { CaptureOptions, ExecOptions, LinkOptions, LogOptions } from './dev-work.ts'
import { planeOption, whole } from './values.ts'

const VERB_HELP: Readonly<Record<Verb, string>> = {
  stop: 'end a program (SIGTERM) and keep it ended',
  start: 'start it again; also ends a pause or an engine’s crash loop',
  kill: 'SIGKILL it; the cluster starts it again by itself',
  pause: 'SIGSTOP it: the kernel still accepts for it, nothing answers',
  resume: 'SIGCONT it',
  drill: 'one of a proxy’s data threads fails, and another one takes its place (SIGUSR2)',
}
const DONE: Readonly<Record<Verb, string>> = { stop: 'stopped', start: 'started', kill: 'killed', pause: 'paused', resume: 'resumed', drill: 'drilled' }
const TARGET = '<region or host>/<router|agent|proxy|gateway|backbone>, or <region>/redis:<org>/<name> for kill and start'

const work = async () => import('./dev-work.ts')

export function addDevCommands(program: Command): void {
  const dev = program
    .command('dev')
    .description('run a whole cluster on this machine: regions, links with real delays, demo databases')
    .option('--topology <file>', 'another topology than the default one')
    .addOption(planeOption())
    .option('--api-port <port>', 'port of the API on 127.0.0.1 (default: any free one)', whole, 0)
    .action(async (options: StartOptions, command: Command) => (await import('./dev-start.ts')).start(options, command))

  dev
    .command('exec')
    .description('run a command on an app host (or, with --on, on a host) of the cluster')
    .option('--org <org>', 'whose app host')
    .option('--region <region>', 'in which region')
    .option('--host <host>', 'the app host beside this host')
    .option('--on <place>', 'a host, or <region or host>/<program>: the host that runs it')
    .argument('<command...>', 'after --')
    .action(async (words: string[], options: ExecOptions, command: Command) => (await work()).exec(words, options, command))

  for (const verb of VERBS) {
    dev
      .command(`${verb} <target>`)
      .description(VERB_HELP[verb])
      .addHelpText('after', `\ntarget: ${TARGET}`)
      .action(async (target: string, _options: object, command: Command) => (await work()).obeyed(command, { operation: 'steer', target, verb }, DONE[verb]))
  }
  dev
    .command('break <target>')
    .description('kill a tenant’s engine again and again, until "dev start" or "dev restore"; target: <region>/redis:<org>/<name>')
    .action(async (target: string, _options: object, command: Command) => (await work()).obeyed(command, { operation: 'break', target, on: true }, 'broken'))
  dev
    .command('blackhole <target>')
    .description('drop what would open a connection to an agent; target: <region or host>/agent')
    .action(async (target: string, _options: object, command: Command) => (await work()).obeyed(command, { operation: 'blackhole', target, on: true }, 'blackholed'))
  dev
    .command('restore [target]')
    .description('end every fault, or those of one target')
    .action(async (target: string | undefined, _options: object, command: Command) => (await work()).obeyed(command, { operation: 'restore', ...(target !== undefined && { target }) }, 'restored'))
  dev
    .command('link <link>')
    .description('change a link between two regions, like mad-ams, while it is in use')
    .option('--rtt <time>', 'round-trip time: 80ms or 0.5s', duration)
    .option('--drop', 'lose every packet')
    .option('--restore', 'lose none')
    .action(async (id: string, options: LinkOptions, command: Command) => (await work()).link(id, options, command))

  dev
    .command('capture')
    .description('look at the links between regions: what passes, by its kind (backbone: sealed by WireGuard), and whether a text is seen in it')
    .option('--seconds <seconds>', 'for so long, 8 at most', captureTime, 3)
    .option('--find <text>', 'count packets that hold it in the clear')
    .action(async (options: CaptureOptions, command: Command) => (await work()).capture(options, command))

  dev.command('status').description('programs, links and faults of the cluster').action(async (options: object, command: Command) => (await work()).status(options, command))
  dev
    .command('logs <target>')
    .description('what a program logged; target: <region or host>/<router|agent|proxy|gateway|backbone>')
    .option('-f, --follow', 'and what it logs from now on')
    .option('-n, --lines <count>', 'so many of the last lines', whole, 1000)
    .action(async (target: string, options: LogOptions, command: Command) => (await work()).logs(target, options, command))
  dev.command('metrics <target>').description('the metrics of a program, in Prometheus text').action(async (target: string, options: object, command: Command) => (await work()).metrics(target, options, command))
  dev
    .command('down')
    .description('end the cluster')
    .action(async (options: object, command: Command) => (await work()).down(options, command))
}

function captureTime(text: string): number {
  const seconds = Number(text)
  if (!(seconds >= 0.1 && seconds <= 8)) throw new InvalidArgumentError('Write seconds, from 0.1 to 8.')
  return seconds
}

function duration(text: string): number {
  const [, value, unit] = /^(\d+(?:\.\d+)?)\s*(ms|s)?$/.exec(text) ?? []
  if (value === undefined) throw new InvalidArgumentError('Write a time like 80ms or 0.5s.')
  return Number(value) * (unit === 's' ? 1000 : 1)
}
