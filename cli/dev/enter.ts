/**
 * Running a user's command inside the cluster, on an app host or a host, as if logged in there: same terminal, signals,
 * environment and exit code, another network.
 *
 * An app host's command gets a hosts file with its own organization's names, and no sight of the cluster's files (/run
 * is replaced). It is a development cluster: a command that means harm can still reach its parent's world.
 */
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { NearcastError } from '../../lib/errors.ts'
import { NAMESPACES_DIRECTORY } from './inside-protocol.ts'

/** Where an app host finds the CA of the cluster's TLS; programs are pointed to it by their usual variables. */
export const APP_HOST_CA = '/run/nearcast/ca.pem'

/** $1 = hosts file (empty: leave it), $2 = CA certificate, $3 = working directory, the rest is the command. */
const PREPARE = `
if [ -n "$1" ]; then
  mount -t tmpfs -o mode=0755 tmpfs /run
  printf %s "$1" > /run/hosts
  mkdir /run/nearcast
  printf %s "$2" > ${APP_HOST_CA}
  mount --bind /run/hosts /etc/hosts
fi
cd "$3" 2>/dev/null || cd /
shift 3
exec "$@"
`

const FOLLOW_PARENT = ['--pdeathsig', 'KILL', '--']
/** Ctrl-C reaches nsenter as well, which would end and take the command with it before that could say goodbye. */
const IGNORE_SIGNALS = 'trap "" INT QUIT; exec "$@"'
const SIGNALS_AS_USUAL = ['env', '--default-signal=INT,QUIT']

export interface EnterOptions {
  readonly insidePid: number
  /** Network namespace. */
  readonly namespace: string
  /** Text of /etc/hosts, or null to leave everything as it is. */
  readonly hosts: string | null
  /** PEM of the CA that signs the names of app hosts; used with `hosts`. */
  readonly ca: string
  readonly command: readonly string[]
}

/** `fdaa:0:1:0:1::1 cache.flycast` lines, and the machine itself. Pure. */
export function hostsFile(self: { readonly id: string; readonly address: string }, names: readonly { readonly name: string; readonly address: string }[]): string {
  const lines = ['127.0.0.1 localhost', '::1 localhost', `${self.address} ${self.id}`, ...names.map(({ name, address }) => `${address} ${name}.flycast`)]
  return `${lines.join('\n')}\n`
}

/** @returns the command's exit code; 128 + n when a signal ended it. @throws NearcastError dev.failed */
export function enter(options: EnterOptions): Promise<number> {
  const { insidePid, namespace, hosts, ca, command } = options
  // nsenter opens the outside's paths before it enters; its child is a process of its own, so both follow their parents.
  const net = `--net=/proc/${insidePid}/root${NAMESPACES_DIRECTORY}/${namespace}`
  const nsenter = ['nsenter', '--preserve-credentials', '-t', String(insidePid), '-U', '-m', '-p', net, '--']
  const prepare = ['unshare', '--mount', '--', 'sh', '-eu', '-c', PREPARE, 'sh', hosts ?? '', ca, process.cwd()]
  const words = ['setpriv', ...FOLLOW_PARENT, ...nsenter, ...SIGNALS_AS_USUAL, 'setpriv', ...FOLLOW_PARENT, ...prepare, ...command]
  const trust = hosts === null ? {} : { SSL_CERT_FILE: APP_HOST_CA, NODE_EXTRA_CA_CERTS: APP_HOST_CA }
  const child = spawn('sh', ['-c', IGNORE_SIGNALS, 'sh', ...words], { stdio: 'inherit', env: { ...process.env, ...trust } })
  // The terminal sends Ctrl-C to the whole group: the command decides what it means. SIGTERM is passed on.
  const pass = (name: NodeJS.Signals): void => void child.kill(name)
  process.on('SIGINT', ignore).on('SIGQUIT', ignore).on('SIGTERM', pass).on('SIGHUP', pass)
  return new Promise((resolve, reject) => {
    child.on('error', (error) => reject(new NearcastError('dev.failed', `Can't enter the cluster: ${error.message}.`, { cause: error })))
    child.on('close', (code, signal) => resolve(signal === null ? (code ?? 1) : 128 + constants.signals[signal]))
  })
}

function ignore(): void {}
