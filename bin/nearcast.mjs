#!/usr/bin/env node
/**
 * `nearcast`, started by any Node >= 20: runs the command line on the pinned Node, passes signals on, ends as it ended.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { compileCache, pinnedNode } from './pinned-node.mjs'

const self = fileURLToPath(import.meta.url)
const root = dirname(dirname(self))
/** A clone runs its sources; an installed package has only what was built. */
const entry = [join(root, 'cli/main.ts'), join(root, 'dist/cli/main.js')].find((path) => existsSync(path))

/** How this shell calls us, for the commands that we suggest. */
function ownCommand() {
  const path = relative(process.cwd(), self)
  return process.argv[1]?.endsWith('.mjs') ? (path.startsWith('..') ? self : path) : 'nearcast'
}

function run() {
  if (entry === undefined) throw new Error('This installation of Nearcast is incomplete; install it again.')
  // A service is one process: ours becomes it, where this Node can do that.
  if (process.argv[2] === 'run' && typeof process.execve === 'function') {
    const node = pinnedNode()
    process.execve(node, [node, entry, ...process.argv.slice(2)], process.env)
  }
  const env = { NEARCAST_COMMAND: ownCommand(), ...compileCache(), ...process.env, NEARCAST_STARTER: String(process.pid) }
  const child = spawn(pinnedNode(), [entry, ...process.argv.slice(2)], { stdio: 'inherit', env })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']) process.on(signal, () => child.kill(signal))
  child.on('error', (error) => fail(error))
  child.on('exit', (code, signal) => process.exit(signal === null ? code : 128 + constants.signals[signal]))
}

function fail(error) {
  console.error(error.message)
  process.exit(1)
}

try {
  run()
} catch (error) {
  fail(error)
}
