/**
 * What has to be there before anything of ours can run: npm's packages, and programs of the system. Plain JavaScript for
 * Node >= 20 without packages, because it is what brings the others.
 */
import { spawn, spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { pinnedNode } from '../bin/pinned-node.mjs'

export { pinnedNode }

const root = dirname(dirname(fileURLToPath(import.meta.url)))
/** Where distributions keep what ordinary users' PATH often lacks. */
const SYSTEM_DIRECTORIES = ['/usr/local/sbin', '/usr/sbin', '/sbin']
const POLICY_FILE = '/usr/sbin/policy-rc.d'

/** program -> packages of Debian and Ubuntu, and other names of the same program. */
const PROGRAMS = {
  'redis-server': { packages: ['redis-server'], also: ['valkey-server'] },
  'redis-cli': { packages: ['redis-tools'], also: ['valkey-cli'] },
  nft: { packages: ['nftables'] },
  ip: { packages: ['iproute2'] },
  ping: { packages: ['iputils-ping'] },
  unshare: { packages: ['util-linux'] },
  nsenter: { packages: ['util-linux'] },
  setpriv: { packages: ['util-linux'] },
  mount: { packages: ['mount'] },
  haproxy: { packages: ['haproxy'] },
  zsh: { packages: ['zsh'] },
  fish: { packages: ['fish'] },
  mandoc: { packages: ['mandoc'] },
  script: { packages: ['bsdutils'] },
  'systemd-analyze': { packages: ['systemd'] },
  // Debian keeps a server's programs apart by version, outside of PATH.
  postgres: { packages: ['postgresql'], parent: '/usr/lib/postgresql' },
  openssl: { packages: ['openssl'] },
  nginx: { packages: ['nginx', 'libnginx-mod-stream'] },
  'wireguard-go': { packages: ['wireguard-go'] },
  wg: { packages: ['wireguard-tools'] },
  'qemu-system-x86_64': { packages: ['qemu-system-x86'] },
  depmod: { packages: ['kmod'] },
}

/** PATH with the system's directories behind. */
export function searchPath() {
  const given = (process.env.PATH ?? '').split(delimiter).filter(Boolean)
  return [...given, ...SYSTEM_DIRECTORIES.filter((directory) => !given.includes(directory))].join(delimiter)
}

/** npm's packages, and that the pinned Node among them starts. @throws Error, one sentence */
export async function ensureDependencies() {
  if (!isInstalled()) await installDependencies()
  await ensureNode()
}

async function installDependencies() {
  console.error('Installing npm packages (the pinned Node among them) …')
  // The npm that runs us, if any: it needn't be in PATH.
  const npm = process.env.npm_execpath?.endsWith('.js') ? [process.execPath, process.env.npm_execpath] : ['npm']
  const code = await run([...npm, 'ci', '--ignore-scripts', '--include=dev', '--include=optional', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: root })
  if (code !== 0) throw new Error('The npm packages could not be installed (see above); run "npm ci" and start again.')
}

/** Node's own builds need libatomic, which small images lack. */
async function ensureNode() {
  const library = 'libatomic.so.1'
  const lacksIt = () => String(spawnSync(pinnedNode(), ['--version'], { encoding: 'utf8' }).stderr).includes(library)
  if (!lacksIt()) return
  const packages = ['libatomic1']
  if (mayInstall()) await install(packages)
  if (lacksIt()) throw new Error(`${library} is missing, which Node needs: ${adviceFor(packages)}.`)
}

/** True when node_modules holds what the lockfile names (other platforms’ packages aside). */
export function isInstalled() {
  const wanted = packagesOf(join(root, 'package-lock.json'))
  const present = packagesOf(join(root, 'node_modules/.package-lock.json'))
  if (wanted === null || present === null) return false
  const missing = ([path, entry]) => path !== '' && present[path]?.version !== entry.version && !(entry.optional && present[path] === undefined)
  return !Object.entries(wanted).some(missing)
}

function packagesOf(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages
  } catch {
    return null
  }
}

/** The path of a program, or null. Aliases count (valkey-server is a redis-server). */
export function find(name) {
  for (const each of [name, ...(PROGRAMS[name]?.also ?? [])]) {
    for (const directory of [...searchPath().split(delimiter), ...versionDirectories(PROGRAMS[name]?.parent)]) {
      const path = join(directory, each)
      try {
        accessSync(path, constants.X_OK)
        return path
      } catch {
        // Not here.
      }
    }
  }
  return null
}

function versionDirectories(parent) {
  return parent !== undefined && existsSync(parent) ? readdirSync(parent).map((version) => join(parent, version, 'bin')) : []
}

/**
 * Installs what is missing where that is possible without asking (root on Debian or Ubuntu), without starting services.
 * @returns the names that are still missing. @throws Error, one sentence that says what to install, unless `optional`
 */
export async function ensurePrograms(names, { optional = false } = {}) {
  const missing = () => names.filter((name) => find(name) === null)
  let packages = packagesFor(missing())
  if (packages.length === 0) return []
  if (mayInstall()) {
    await install(packages)
    packages = packagesFor(missing())
  }
  const still = missing()
  if (still.length === 0) return []
  const sentence = `${still.join(', ')} ${still.length === 1 ? 'is' : 'are'} missing: ${adviceFor(packages)}.`
  if (!optional) throw new Error(sentence)
  console.error(sentence)
  return still
}

/** `ensurePrograms` under its short name. */
export const ensure = ensurePrograms

/** Root on Debian or Ubuntu. */
function mayInstall() {
  return process.platform === 'linux' && process.getuid() === 0 && find('apt-get') !== null && existsSync('/etc/debian_version')
}

function packagesFor(names) {
  return [...new Set(names.flatMap((name) => PROGRAMS[name]?.packages ?? [name]))]
}

function adviceFor(packages) {
  const list = packages.join(' ')
  if (find('apt-get') !== null) return `install with: sudo apt-get install ${list}`
  if (find('dnf') !== null) return `install with: sudo dnf install ${list.replace('redis-server', 'redis').replace('redis-tools', 'redis').replace('iputils-ping', 'iputils').replace('iproute2', 'iproute').replace('libatomic1', 'libatomic')}`
  if (find('brew') !== null && process.platform === 'darwin') return 'the cluster needs Linux; run it in a virtual machine or a container'
  return `install the packages ${packages.join(', ')} (names of Debian) with your package manager`
}

async function install(packages) {
  console.error(`Installing ${packages.join(', ')} …`)
  const withdraw = forbidServices()
  try {
    const apt = ['apt-get', '-q', '-o', 'DPkg::Lock::Timeout=120', '-o', 'Acquire::Retries=2']
    const options = { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', NEEDRESTART_SUSPEND: '1' }, quiet: true }
    const words = [...apt, 'install', '-y', '--no-install-recommends', ...packages]
    if (await run(words, options)) {
      // Lists may be missing or too old to find the files.
      await run([...apt, 'update'], options)
      await run(words, options)
    }
  } finally {
    withdraw()
  }
}

/**
 * Packages of servers start them when they are installed, unless policy-rc.d says no. Ours says no only while this
 * process lives, so even one that was left behind by SIGKILL does no harm. An existing one is somebody's decision.
 */
function forbidServices() {
  if (existsSync(POLICY_FILE)) return () => {}
  writeFileSync(POLICY_FILE, `#!/bin/sh\nif [ -d /proc/${process.pid} ]; then exit 101; fi\nrm -f "$0"\nexit 0\n`, { mode: 0o755, flag: 'wx' })
  const remove = () => rmSync(POLICY_FILE, { force: true })
  process.once('exit', remove)
  return () => {
    process.off('exit', remove)
    remove()
  }
}

/** Output goes to standard error: standard output belongs to what is started. @returns the exit code */
function run([program, ...words], { cwd, env = process.env, quiet = false } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, words, { cwd, env, stdio: ['ignore', quiet ? 'ignore' : 2, 2] })
    const stop = () => child.kill('SIGTERM')
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
    for (const signal of signals) process.on(signal, stop)
    child.on('error', (error) => reject(new Error(`${program} can't be run: ${error.message}.`)))
    child.on('exit', (code) => {
      for (const signal of signals) process.off(signal, stop)
      resolve(code ?? 1)
    })
  })
}
