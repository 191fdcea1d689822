/**
 * A small file system under an agent's data directory, so that a disk can be full without filling the machine's.
 * The agent is stopped while its data moves.
 */
import type { Cluster } from './cluster.ts'

export class SmallDisk {
  readonly #cluster: Cluster
  readonly #host: string
  readonly #directory: string

  private constructor(cluster: Cluster, host: string) {
    this.#cluster = cluster
    this.#host = host
    this.#directory = `/run/nearcast/state/${host}/agent/data`
  }

  static async mount(cluster: Cluster, host: string, megabytes: number): Promise<SmallDisk> {
    const disk = new SmallDisk(cluster, host)
    await cluster.dev('stop', `${host}/agent`)
    await disk.#run(`mkdir /run/small && mount -t tmpfs -o mode=0700,size=${megabytes}m tmpfs /run/small && cp -a ${disk.#directory}/. /run/small && mount --move /run/small ${disk.#directory}`)
    await cluster.dev('start', `${host}/agent`)
    return disk
  }

  async resize(megabytes: number): Promise<void> {
    await this.#run(`mount -o remount,size=${megabytes}m ${this.#directory}`)
  }

  /** In the mount namespace of the cluster's own process 1: a command's own is private. */
  async #run(script: string): Promise<void> {
    const { code, stderr } = await this.#cluster.run(this.#host, ['nsenter', '-t', '1', '-m', 'sh', '-euc', script])
    if (code !== 0) throw new Error(stderr)
  }
}
