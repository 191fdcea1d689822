/**
 * Packages of the distribution that are unpacked beside the machine's own and not installed: its sources, lists and programs
 * stay as they are. They come from where the machine's own packages come from, out of its release or its release's backports.
 * Plain JavaScript for Node >= 20 without packages. Debian only; what they need of libraries has to be there.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { find } from './prerequisites.mjs'

const KEYS = '/usr/share/keyrings/debian-archive-keyring.gpg'
const TIMEOUT_MS = 300_000

/** The directory of Valkey's programs: installed, or unpacked for tests alone. @throws Error, one sentence */
export function valkeyDirectory() {
  const installed = find('valkey-server')
  return installed !== null ? dirname(installed) : join(unpackedPackages('valkey', ['valkey-server', 'valkey-tools'], ['release', 'backports']), 'usr/bin')
}

/** Where other users may look into it when root puts it there: engines run under users of their own. */
function cacheDirectory() {
  return process.getuid?.() === 0 ? '/var/cache/nearcast' : join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'nearcast')
}

/**
 * A directory that holds all files of these packages, fetched when it isn't there yet. `from`: where to look, in this order.
 * @returns {string} @throws Error, one sentence
 */
export function unpackedPackages(name, packages, from) {
  const directory = join(cacheDirectory(), name)
  if (existsSync(directory)) return directory
  if (!existsSync('/etc/debian_version')) throw new Error(`${name} comes from Debian's packages, and this is no Debian.`)
  mkdirSync(cacheDirectory(), { recursive: true, mode: 0o755 })
  const work = mkdtempSync(join(cacheDirectory(), 'work-'))
  try {
    const problems = []
    for (const place of from) {
      try {
        const options = place === 'release' ? [] : backports(work)
        const wanted = packages.map((each) => (typeof each === 'string' ? each : dependency(options, each)))
        run('apt-get', [...options, '-q', '-o', 'APT::Sandbox::User=root', 'download', ...wanted], work)
        const files = join(work, 'files')
        for (const file of readdirSync(work).filter((each) => each.endsWith('.deb'))) run('dpkg', ['-x', file, files], work)
        // Somebody else may have been quicker.
        if (!existsSync(directory)) renameSync(files, directory)
        return directory
      } catch (error) {
        problems.push(`${place}: ${error.message}`)
      }
    }
    throw new Error(`${packages.map((each) => each.of ?? each).join(', ')} can't be had here (${problems.join('; ')}).`)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

/** Options of apt that make it look there, and nowhere else, with lists of its own. */
function backports(work) {
  const release = /^VERSION_CODENAME=(\S+)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1]
  const targets = run('apt-get', ['indextargets', '--format', '$(REPO_URI) $(CODENAME) $(COMPONENT)', 'Created-By: Packages'], work).split('\n')
  const uri = targets.map((line) => line.split(' ')).find(([, codename, component]) => codename === release && component === 'main')?.[0]
  if (uri === undefined) throw new Error("apt names no source of this release's packages")
  const sources = join(work, 'backports.list')
  writeFileSync(sources, `deb ${existsSync(KEYS) ? `[signed-by=${KEYS}] ` : ''}${uri} ${release}-backports main\n`)
  for (const directory of ['lists/partial', 'cache/archives/partial']) mkdirSync(join(work, directory), { recursive: true })
  const options = [`Dir::Etc::sourcelist=${sources}`, 'Dir::Etc::sourceparts=-', `Dir::State::lists=${join(work, 'lists')}`, `Dir::Cache=${join(work, 'cache')}`, 'Acquire::Retries=2', 'Acquire::http::Timeout=20', 'APT::Sandbox::User=root'].flatMap((each) => ['-o', each])
  run('apt-get', [...options, '-q', 'update'], work)
  return options
}

/** What a package without files depends on: `{ of: 'linux-image-amd64', prefix: 'linux-image-' }`. */
function dependency(options, { of, prefix }) {
  const line = /^Depends: (.*)$/m.exec(run('apt-cache', [...options, 'show', '--no-all-versions', of], '/'))?.[1] ?? ''
  const found = line.split(/,\s*/).map((each) => each.split(' ')[0]).find((each) => each.startsWith(prefix))
  if (found === undefined) throw new Error(`${of} names no ${prefix}…`)
  return found
}

function run(program, words, cwd) {
  const { status, stdout, stderr, error } = spawnSync(program, words, { cwd, encoding: 'utf8', timeout: TIMEOUT_MS, env: { ...process.env, LC_ALL: 'C' } })
  if (error !== undefined || status !== 0) throw new Error(`${program}: ${error?.message ?? stderr.trim().split('\n').at(-1)}`)
  return stdout
}
