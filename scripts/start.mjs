/**
 * `npm start`: installs what is missing, then runs `nearcast dev` with the words behind `--`. (`start.mjs demo …` runs
 * `nearcast demo`.) Runs on any Node >= 20. Ends with npm, however that ends, and takes the cluster with it.
 */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { compileCache } from '../bin/pinned-node.mjs'
import { ensureDependencies, ensurePrograms, pinnedNode, searchPath } from './prerequisites.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const PROGRAMS = ['redis-server', 'redis-cli', 'nft', 'ip', 'ping', 'unshare', 'nsenter', 'setpriv', 'mount']
const WATCH_INTERVAL_MS = 200
/** A supervisor that doesn't end in this time is ended. */
const STOP_TIMEOUT_MS = 5000
const MAX_ANCESTORS = 4

let child
let starters = ancestors()

try {
  setInterval(watch, WATCH_INTERVAL_MS).unref()
  await ensureDependencies()
  if (process.platform !== 'linux') throw new Error('The cluster is made of Linux namespaces; run it on Linux, or in a Linux virtual machine.')
  await ensurePrograms(PROGRAMS)
  process.exit(await start())
} catch (error) {
  console.error(error.message)
  process.exit(1)
}

function start() {
  const given = process.argv.slice(2)
  const words = given[0] === 'demo' ? given : ['dev', ...given]
  const env = { NEARCAST_COMMAND: 'bin/nearcast.mjs', ...compileCache(), ...process.env, PATH: searchPath(), NEARCAST_STARTER: String(process.pid) }
  child = spawn(pinnedNode(), [join(root, 'cli/main.ts'), ...words], { stdio: 'inherit', env })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']) process.on(signal, () => child.kill(signal))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code, signal) => resolve(signal === null ? code : 128 + constants.signals[signal]))
  })
}

/** npm and the shell between: their pids are reused, so the start time belongs to the name. */
function ancestors() {
  if (process.platform !== 'linux' || process.env.npm_lifecycle_event === undefined) return []
  const found = []
  for (let pid = process.ppid; pid > 1 && found.length < MAX_ANCESTORS; ) {
    const status = statusOf(pid)
    if (status === null) break
    found.push({ pid, startTime: status.startTime })
    if (/\bnpm\b/.test(commandOf(pid))) return found
    pid = status.parent
  }
  // npm isn't among them: whoever set the variable, only the direct parent counts.
  return found.slice(0, 1)
}

function watch() {
  if (starters.every(({ pid, startTime }) => statusOf(pid)?.startTime === startTime)) return
  starters = []
  if (child === undefined) process.exit(143)
  child.kill('SIGTERM')
  setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS).unref()
}

/** Fields of /proc/<pid>/stat: the name may hold anything, so they count from its closing bracket. */
function statusOf(pid) {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\) /s, '').split(' ')
    return fields[0] === 'Z' ? null : { parent: Number(fields[1]), startTime: fields[19] }
  } catch {
    return null
  }
}

function commandOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}
