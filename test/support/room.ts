/**
 * A room of its own for what a test wants to see exactly: fresh /tmp and /run, and a network with nothing but a loopback
 * interface. Commands run in it through `prefix`. It ends with this process, whatever ends that.
 */
import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

const isRoot = process.getuid?.() === 0
const NAMESPACES = isRoot ? ['--mount', '--net'] : ['--user', '--map-root-user', '--mount', '--net']
/**
 * Lives as long as its standard input. The home directory is everybody's: some run commands as another user. The
 * repository may lie in the old /tmp.
 */
const HOLD = `
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir /run/repository
mount --bind "$1" /run/repository
mount -t tmpfs -o mode=1777 tmpfs /tmp
mkdir -m 0777 /tmp/home /tmp/nearcast
mount --move /run/repository /tmp/nearcast
rmdir /run/repository
ip link set lo up
echo ready
exec cat
`
const REPOSITORY = new URL('../..', import.meta.url).pathname

/** What npm keeps for itself. */
const NPM = ['*/node-compile-cache*', '*/.npm*']

export class Room {
  /** Where the repository is seen by every user. */
  readonly repository = '/tmp/nearcast'
  /** For whoever starts something in it. What Node has compiled stays with the repository. */
  readonly env = { HOME: '/tmp/home', npm_config_update_notifier: 'false', NODE_COMPILE_CACHE: `${this.repository}/node_modules/.cache/nearcast` }
  readonly prefix: readonly string[]
  readonly #holder: ChildProcess

  private constructor(holder: ChildProcess) {
    this.#holder = holder
    const user = isRoot ? [] : ['--user', '--preserve-credentials']
    this.prefix = ['nsenter', '-t', String(holder.pid), ...user, '--mount', '--net', '--']
  }

  static async open(): Promise<Room> {
    const holder = spawn('unshare', [...NAMESPACES, '--', 'sh', '-eu', '-c', HOLD, 'sh', REPOSITORY], { stdio: ['pipe', 'pipe', 'inherit'] })
    const ended = once(holder, 'exit').then(() => {
      throw new Error('no room: its namespaces could not be made (see above)')
    })
    await Promise.race([once(createInterface({ input: holder.stdout }), 'line'), ended])
    ended.catch(() => {})
    return new Room(holder)
  }

  run(...command: string[]): string {
    const [program = '', ...words] = [...this.prefix, ...command]
    const { status, stdout, stderr } = spawnSync(program, words, { encoding: 'utf8' })
    if (status !== 0) throw new Error(`${command.join(' ')}: ${stderr}`)
    return stdout
  }

  /** Files, interfaces, routes, namespaces, packet filters, listening sockets. */
  look(): Record<string, string[]> {
    const lines = (...command: string[]): string[] => this.run(...command).split('\n').filter(Boolean).toSorted()
    const sockets = this.run('cat', '/proc/net/tcp', '/proc/net/tcp6').split('\n').filter((line) => / 0A /.test(line))
    return {
      files: lines('find', '/tmp', '/run', '(', '-path', this.repository, ...NPM.flatMap((path) => ['-o', '-path', path]), ')', '-prune', '-o', '-print'),
      interfaces: lines('ip', '-br', 'link'),
      routes: lines('ip', '-6', 'route', 'show', 'table', 'all'),
      namespaces: lines('ip', 'netns'),
      filters: lines('nft', 'list', 'tables'),
      listening: sockets.map((line) => line.trim().split(/\s+/)[1] ?? ''),
      controls: this.run('cat', '/proc/net/unix').split('\n').filter((line) => line.includes('@nearcast/')).map((line) => line.split('@')[1] ?? ''),
    }
  }

  async close(): Promise<void> {
    const ended = once(this.#holder, 'exit')
    this.#holder.stdin?.end()
    await ended
  }
}
