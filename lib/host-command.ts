/**
 * Runs one of the host's network programs (ip, nft, wg) with its commands on standard input, and turns what can go wrong
 * into errors that name the command to look at. Nothing here goes through a shell.
 */
import { spawn } from 'node:child_process'
import { NearcastError } from './errors.ts'

/** A command that takes longer hangs, it doesn't work. */
const TIMEOUT_MS = 10_000
const MAX_STDERR_CHARS = 4096

/** Resolves with the standard output. @throws NearcastError host.command-missing, host.denied, host.failed */
export type RunCommand = (program: 'ip' | 'nft' | 'wg', args: readonly string[], input?: string) => Promise<string>

export const runCommand: RunCommand = (program, args, input) =>
  new Promise((resolve, reject) => {
    const command = [program, ...args].join(' ')
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], timeout: TIMEOUT_MS, killSignal: 'SIGKILL' })
    child.on('error', (cause: NodeJS.ErrnoException) => reject(spawnError(program, command, cause)))
    // No descriptors left: such a child has no streams, and `error` follows.
    if (child.pid === undefined) return
    const output: Buffer[] = []
    let complaint = ''
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk))
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (complaint.length < MAX_STDERR_CHARS) complaint += text
    })
    child.on('close', (code, signal) => {
      if (code === 0) resolve(Buffer.concat(output).toString('utf8'))
      else reject(exitError(command, complaint, code === null ? `signal ${signal}` : `exit code ${code}`))
    })
    // A program that ends before it has read everything says why on its standard error.
    child.stdin.on('error', () => {})
    child.stdin.end(input ?? '')
  })

function spawnError(program: string, command: string, cause: NodeJS.ErrnoException): NearcastError {
  if (cause.code !== 'ENOENT') return new NearcastError('host.failed', `"${command}" can't be run: ${cause.message}.`, { cause })
  const where = { nft: 'nftables', wg: 'wireguard-tools' }[program] ?? 'iproute2'
  return new NearcastError('host.command-missing', `There is no "${program}" here; install ${where}, or set manageHost = false.`, { cause })
}

function exitError(command: string, complaint: string, how: string): NearcastError {
  const why = complaint.trim().split('\n').slice(0, 3).join(' / ') || how
  if (!/not permitted|permission denied|must be root/i.test(complaint)) {
    return new NearcastError('host.failed', `"${command}" failed: ${why}`)
  }
  return new NearcastError('host.denied', `"${command}" needs CAP_NET_ADMIN (${why}); run as root, or set manageHost = false and do it yourself.`)
}
