/**
 * `npm test`: types, lint, Vitest (unit, contract, interop, fuzz, regression), node-tap (system tests with real processes).
 * Runs on whatever Node started npm; everything below runs on the pinned one. Ends with `N passed, N failed, N skipped`.
 *
 *   npm test                                  everything
 *   npm test -- --only vitest,tap             some of: types, lint, vitest, tap
 *   npm test -- --must-run test/system/wall   fails when a test in a file whose path starts so was skipped or didn't run
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { compileCache } from '../bin/pinned-node.mjs'
import { ensureDependencies, ensurePrograms, pinnedNode } from './prerequisites.mjs'
import { valkeyDirectory } from './unpacked-packages.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const { values } = parseArgs({ options: { only: { type: 'string' }, 'must-run': { type: 'string', multiple: true } } })
const only = values.only?.split(',')
const mustRun = (values['must-run'] ?? []).flatMap((list) => list.split(','))

/** Programs that judge what is packed: completions, manual pages, units; a terminal for questions. */
const JUDGES = ['zsh', 'fish', 'mandoc', 'systemd-analyze', 'script']

/** Directories of programs that are nobody's but the tests'. */
const besides = []
/** A result per test file: the counts of its tests. Types and lint count as one test each. */
const results = []
const scratch = mkdtempSync(join(tmpdir(), 'nearcast-test-'))

try {
  await ensureDependencies()
  await ensurePrograms(['redis-server', 'redis-cli', 'haproxy', 'nginx', 'postgres', 'openssl', 'nft', 'ip', 'ping', 'unshare', 'nsenter', 'setpriv', 'wireguard-go', 'wg', ...JUDGES], { optional: true })
  besides.push(...valkey())
  const wanted = (suites) => Object.entries(suites).filter(([name]) => only === undefined || only.includes(name))
  // These read what is there, and nothing else.
  await Promise.all(wanted({ types, lint }).map(([, suite]) => suite()))
  for (const [, suite] of wanted({ vitest, tap })) await suite()
} finally {
  rmSync(scratch, { recursive: true, force: true })
}

const missing = mustRun.filter((prefix) => {
  const files = results.filter((result) => result.file.startsWith(prefix))
  return files.length === 0 || files.some((result) => result.skipped > 0 || result.passed === 0)
})
for (const prefix of missing) {
  console.error(`${prefix} must run whole here, but tests of it were skipped or not found (see above for the reasons).`)
  results.push({ file: prefix, passed: 0, failed: 1, skipped: 0 })
}
const sum = (key) => results.reduce((total, result) => total + result[key], 0)
for (const result of results.filter((each) => each.failed > 0)) {
  console.log(`failed: ${result.file}`)
  for (const reason of result.reasons ?? []) console.log(`  ${reason}`)
}
console.log(`${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped`)
process.exitCode = sum('failed') > 0 ? 1 : 0

/** Releases of Debian that have it among their own packages are few yet. */
function valkey() {
  try {
    return [valkeyDirectory()]
  } catch (error) {
    console.error(error.message)
    return []
  }
}

async function types() {
  await whole('types', ['tsc', '--noEmit'])
}

async function lint() {
  await whole('lint', ['oxlint', '--type-aware', '--deny-warnings'])
}

async function whole(name, command) {
  const ok = (await run(command)) === 0
  results.push({ file: name, passed: ok ? 1 : 0, failed: ok ? 0 : 1, skipped: 0 })
}

async function vitest() {
  const output = join(scratch, 'vitest.json')
  const code = await run(['vitest', 'run', '--reporter=default', '--reporter=json', `--outputFile.json=${output}`])
  const report = readReport(output)
  for (const file of report?.testResults ?? []) {
    const count = (...wanted) => file.assertionResults.filter((test) => wanted.includes(test.status)).length
    const failed = count('failed')
    // A file that fails to load has no tests of its own, but it has failed.
    const broken = file.status === 'failed' && failed === 0 ? 1 : 0
    const reasons = file.assertionResults.filter((test) => test.status === 'failed').map((test) => `${test.fullName}: ${brief(test.failureMessages[0] ?? '')}`)
    const name = relative(root, file.name).split(sep).join('/')
    results.push({ file: name, passed: count('passed'), failed: failed + broken, skipped: count('skipped', 'pending', 'todo'), reasons })
  }
  if (code !== 0 && !results.some((result) => result.failed > 0)) results.push({ file: 'vitest', passed: 0, failed: 1, skipped: 0 })
}

/** The first words of a failure: the whole stands above, where it may have scrolled away. */
function brief(text) {
  return text.replaceAll(/\s+/g, ' ').slice(0, 400)
}

function readReport(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return undefined
  }
}

async function tap() {
  if ((await run(['tap', 'build'])) !== 0) {
    results.push({ file: 'tap build', passed: 0, failed: 1, skipped: 0 })
    return
  }
  const output = join(scratch, 'system.tap')
  const code = await run(['tap', '-R', 'terse', `--output-file=${output}`], { NO_COLOR: '1' })
  const before = results.length
  results.push(...countTap(readFileSync(output, 'utf8')))
  if (code !== 0 && !results.slice(before).some((result) => result.failed > 0)) {
    results.push({ file: 'tap', passed: 0, failed: 1, skipped: 0 })
  }
}

/**
 * TAP 14 nests subtests by four spaces: the first level names the file, a leaf is a test point that closes no subtest. The
 * reason for a failed leaf is the block of YAML below it.
 */
function countTap(text) {
  const files = []
  let current
  let opened = []
  let names = []
  const lines = text.split('\n')
  for (const [number, line] of lines.entries()) {
    const [, indent, rest] = /^( *)(.*)$/.exec(line)
    const depth = indent.length / 4
    const subtest = /^# Subtest: (.*)$/.exec(rest)
    if (subtest !== null) {
      if (depth === 0) files.push((current = { file: subtest[1], passed: 0, failed: 0, skipped: 0, reasons: [] }))
      opened = [...opened.slice(0, depth), true]
      names = [...names.slice(0, depth), subtest[1]]
      continue
    }
    const point = /^(not )?ok \d+(.*)$/.exec(rest)
    if (point === null) continue
    if (depth === 0) {
      if (point[1] !== undefined && current !== undefined && current.failed === 0) current.failed++
      opened = []
      continue
    }
    const closesSubtest = opened[depth] === true
    opened = opened.slice(0, depth)
    if (closesSubtest || current === undefined) continue
    if (/# (SKIP|TODO)/i.test(point[2])) current.skipped++
    else if (point[1] === undefined) current.passed++
    else {
      current.failed++
      const end = lines.indexOf(`${indent}  ...`, number)
      const details = lines[number + 1] === `${indent}  ---` ? lines.slice(number + 2, end) : []
      current.reasons.push(`${[...names.slice(1, depth), point[2].replace(/^ - /, '')].join(' > ')}: ${brief(details.join(' ').replace(/.*?(?=diff:|message:)/, ''))}`)
    }
  }
  return files
}

/** Runs a program of node_modules/.bin on the pinned Node. */
function run([program, ...args], env = {}) {
  console.log(`\n— ${program} ${args.join(' ')}`)
  const bin = join(root, 'node_modules', '.bin')
  const path = [dirname(pinnedNode()), bin, process.env.PATH, ...besides].join(delimiter)
  return new Promise((resolve) => {
    // Some thousand programs and commands are started, which would all be compiled anew.
    const child = spawn(join(bin, program), args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], env: { ...compileCache(), ...process.env, ...env, PATH: path } })
    child.on('error', () => resolve(1))
    child.on('exit', (code) => resolve(code ?? 1))
  })
}
