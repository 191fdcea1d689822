/**
 * A command on a kernel of our own, as root: what this machine's kernel lacks (WireGuard, netem, cgroup controllers, kernel
 * TLS) or doesn't let us have is there. Debian's kernel, unpacked and not installed, in a QEMU whose root is this machine's,
 * read-only, with a layer in memory above. No network to outside; nothing that the command does stays.
 *
 *   npm run vm -- [--seconds 900] [--memory 4096] [--processors 2] [--accelerator tcg|kvm] -- <command> [argument…]
 *
 * Ends with the command's exit code, 124 when it took too long, 125 when there is no such machine to be had.
 */
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { pinnedNode } from '../../bin/pinned-node.mjs'
import { ensurePrograms, find } from '../../scripts/prerequisites.mjs'
import { unpackedPackages } from '../../scripts/unpacked-packages.mjs'

const TOO_LONG = 124
const NO_MACHINE = 125
/** By release of Debian. */
const FILE_SERVERS = ['/usr/lib/qemu/virtiofsd', '/usr/libexec/virtiofsd']
/** What commands see of this process's environment. */
const PASSED_ON = /^(NEARCAST_|NO_COLOR$|HOME$|LANG$)/

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '900' },
    memory: { type: 'string', default: '4096' },
    processors: { type: 'string', default: '2' },
    accelerator: { type: 'string', default: 'tcg' },
  },
})
if (positionals.length === 0) fail(NO_MACHINE, 'what is to be run? npm run vm -- [options] -- <command> [argument…]')

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
const directory = mkdtempSync(join(tmpdir(), 'nearcast-vm-'))
const children = []
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(directory, { recursive: true, force: true })
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(TOO_LONG))

const { image, modules, fileServer } = await prerequisites().catch((error) => fail(NO_MACHINE, error.message))
writeCommand(join(directory, 'command'))
const [files, status, log] = ['files', 'status', 'log'].map((name) => join(directory, name))
// Ends with the connection of the machine.
start(fileServer, [`--socket-path=${files}`, '-o', 'source=/', '-o', 'cache=always', '-o', 'sandbox=chroot'], 'ignore')
while (!existsSync(files)) await new Promise((resolve) => setTimeout(resolve, 20))

const machine = start(find('qemu-system-x86_64'), [
  '-machine', 'q35,memory-backend=memory', '-object', `memory-backend-memfd,id=memory,size=${values.memory}M,share=on`, '-m', `${values.memory}M`, '-smp', values.processors,
  // QEMU's translator loses flags beside CMPXCHG16B on some processors, and kernels fall over it; they do without.
  ...(values.accelerator === 'kvm' ? ['-accel', 'kvm', '-cpu', 'host'] : ['-accel', 'tcg,thread=multi,tb-size=1024', '-cpu', 'max,-cx16']),
  '-nodefaults', '-display', 'none', '-no-reboot', '-kernel', image,
  '-append', `root=root rootfstype=virtiofs ro init=${join(root, 'test/vm/init.sh')} console=ttyS0 quiet panic=-1 mitigations=off rcupdate.rcu_cpu_stall_suppress=1 nearcast.directory=${directory} nearcast.modules=${modules}`,
  '-chardev', `socket,id=files,path=${files}`, '-device', 'vhost-user-fs-pci,chardev=files,tag=root',
  '-serial', `file:${log}`,
  '-device', 'virtio-serial-pci', '-chardev', 'stdio,id=output,signal=off', '-device', 'virtconsole,chardev=output', '-chardev', `file,id=status,path=${status}`, '-device', 'virtconsole,chardev=status',
], 'inherit')
const timer = setTimeout(() => {
  console.error(`Not done within ${values.seconds} s.`)
  process.exit(TOO_LONG)
}, Number(values.seconds) * 1000)
machine.on('exit', () => {
  clearTimeout(timer)
  const code = /^exit (\d+)/m.exec(existsSync(status) ? readFileSync(status, 'utf8') : '')?.[1]
  if (code === undefined) fail(NO_MACHINE, `the machine ended by itself:\n${existsSync(log) ? readFileSync(log, 'latin1').slice(-4000) : ''}`)
  process.exit(Number(code))
})

/** @throws Error, one sentence */
async function prerequisites() {
  if (process.platform !== 'linux' || process.arch !== 'x64' || process.getuid() !== 0) throw new Error('the machine needs Linux on x64, and root.')
  await ensurePrograms(['qemu-system-x86_64', 'depmod'])
  const server = FILE_SERVERS.find((path) => existsSync(path))
  if (server === undefined) throw new Error('virtiofsd is missing; install with: sudo apt-get install virtiofsd.')
  // The cloud kernel has in itself what it takes to find its root, so there is no initrd to be made.
  const kernel = unpackedPackages('kernel', [{ of: 'linux-image-cloud-amd64', prefix: 'linux-image-' }], ['backports', 'release'])
  const [version = ''] = readdirSync(join(kernel, 'lib/modules'))
  if (!existsSync(join(kernel, 'lib/modules', version, 'modules.dep.bin'))) spawnSync(find('depmod'), ['-b', kernel, version])
  return { image: join(kernel, 'boot', `vmlinuz-${version}`), modules: kernel, fileServer: server }
}

function quoted(word) {
  return `'${word.replaceAll("'", `'\\''`)}'`
}

/** A script, read by the machine's first process. */
function writeCommand(path) {
  const environment = Object.entries({
    ...Object.fromEntries(Object.entries(process.env).filter(([name]) => PASSED_ON.test(name))),
    PATH: [dirname(pinnedNode()), join(root, 'node_modules/.bin'), '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'].join(':'),
  })
  const lines = [`cd ${quoted(process.cwd())}`, ...environment.map(([name, value]) => `export ${name}=${quoted(value)}`), `exec ${positionals.map(quoted).join(' ')}`]
  writeFileSync(path, `#!/bin/sh\n${lines.join('\n')}\n`)
  chmodSync(path, 0o755)
}

function start(program, words, output) {
  const child = spawn(program, words, { stdio: ['ignore', output, output === 'ignore' ? 'ignore' : 2] })
  children.push(child)
  child.on('error', (error) => fail(NO_MACHINE, `${program} can't be run: ${error.message}.`))
  return child
}

function fail(code, sentence) {
  console.error(`vm: ${sentence}`)
  process.exit(code)
}
