/**
 * The backbone on the kernel's WireGuard, by the programs that come with it (ip-link(8), wg(8)). What is told to it is done
 * in its order, one command after the other; `peers()` is what was told, with what the kernel said last (`look`).
 *
 * Two things it can't do: take a key when its owner shows it (a host's next key takes its address over when the feed says
 * so), and say farewell.
 */
import { asNearcastError } from '../../lib/errors.ts'
import type { RunCommand } from '../../lib/host-command.ts'
import type { Support } from '../../lib/kernel/ffi.ts'
import { REJECT_AFTER_MS } from '../../lib/wireguard/constants.ts'
import type { PeerOptions, PeerStatus } from '../../lib/wireguard/peer.ts'
import type { BackboneDevice, BackboneDeviceOptions } from './backbone-device.ts'

export interface WgInterfaceOptions extends BackboneDeviceOptions {
  /** Where the private key lies, in base64: `wg` reads files, and no arguments. */
  readonly keyFile: string
  readonly run: RunCommand
  /** Since 1970. */
  readonly nowMs: () => number
  /** A command that failed. */
  readonly onFailure: (error: Error) => void
}

/** The kernel is asked that often at most. */
const LOOK_MS = 1000
const PROBE = 'nearcast-probe'

/** Whether this kernel has WireGuard and this host `wg`, found out by using them. */
export async function probeKernelWireguard(run: RunCommand): Promise<Support> {
  try {
    await run('wg', ['--version'])
    await run('ip', ['link', 'add', 'dev', PROBE, 'type', 'wireguard'])
    await run('ip', ['link', 'del', 'dev', PROBE])
    return { answer: 'yes' }
  } catch (error) {
    const { code, message } = asNearcastError(error)
    const isAbsent = code === 'host.command-missing' || /not supported|unknown device type/i.test(message)
    return { answer: isAbsent ? 'no' : 'unknown', reason: message }
  }
}

export class WgInterface implements BackboneDevice {
  readonly implementation = 'kernel'
  readonly admits = false
  readonly path: BackboneDevice['path']
  readonly drops: BackboneDevice['drops'] = new Map()
  readonly #options: WgInterfaceOptions
  readonly #peers = new Map<string, PeerStatus>()
  #queue: Promise<unknown> = Promise.resolve()
  #looking: Promise<void> | null = null
  #lookedMs = -Infinity
  #isClosed = false

  private constructor(options: WgInterfaceOptions, reason: string) {
    this.#options = options
    this.path = { name: 'kernel', reason }
  }

  /** An interface of that name that an earlier run has left goes first. @throws NearcastError host.* */
  static async open(options: WgInterfaceOptions, reason: string): Promise<WgInterface> {
    const { name, mtu, listen, mark, privateKey, keyFile, run } = options
    privateKey.fill(0)
    await run('ip', ['link', 'del', 'dev', name]).catch(() => '')
    await run('ip', ['link', 'add', 'dev', name, 'mtu', String(mtu), 'type', 'wireguard'])
    try {
      await run('wg', ['set', name, 'listen-port', String(listen.port), 'fwmark', String(mark), 'private-key', keyFile])
      await run('ip', ['link', 'set', 'dev', name, 'up'])
      return new WgInterface(options, reason)
    } catch (error) {
      await run('ip', ['link', 'del', 'dev', name]).catch(() => '')
      throw error
    }
  }

  peers(): PeerStatus[] {
    return [...this.#peers.values()]
  }

  setPeer(publicKey: string, { endpoint, allowedIps, persistentKeepaliveSeconds }: PeerOptions): void {
    const before = this.#peers.get(publicKey)
    const fresh = { publicKey, endpoint: null, allowedIps: [], receivedBytes: 0, sentBytes: 0, lastHandshakeMs: null, hasSession: false }
    this.#peers.set(publicKey, { ...fresh, ...before, ...(endpoint && { endpoint }), ...(allowedIps && { allowedIps }) })
    this.#wg([
      'peer',
      publicKey,
      ...(endpoint === undefined ? [] : ['endpoint', `[${endpoint.host}]:${endpoint.port}`]),
      ...(persistentKeepaliveSeconds === undefined ? [] : ['persistent-keepalive', String(persistentKeepaliveSeconds)]),
      ...(allowedIps === undefined ? [] : ['allowed-ips', allowedIps.join()]),
    ])
  }

  removePeer(publicKey: string): boolean {
    if (!this.#peers.delete(publicKey)) return false
    this.#wg(['peer', publicKey, 'remove'])
    return true
  }

  /** The one that lies in the file by now. */
  setPrivateKey(privateKey: Uint8Array): void {
    privateKey.fill(0)
    this.#wg(['private-key', this.#options.keyFile])
  }

  sayFarewell(): void {
    // The kernel sends nothing on our behalf.
  }

  look(): Promise<void> {
    const { nowMs } = this.#options
    if (this.#looking === null && nowMs() - this.#lookedMs >= LOOK_MS) {
      this.#lookedMs = nowMs()
      this.#looking = this.#then(() => this.#ask()).finally(() => {
        this.#looking = null
      })
    }
    return this.#looking ?? Promise.resolve()
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#queue
    await this.#options.run('ip', ['link', 'del', 'dev', this.#options.name])
  }

  /** `wg show <name> dump`: a line of the interface's own, with its private key, then one for each peer. */
  async #ask(): Promise<void> {
    const { name, run, nowMs } = this.#options
    const text = await run('wg', ['show', name, 'dump'])
    for (const line of text.split('\n').slice(1)) {
      const [publicKey = '', , , , handshake, received, sent] = line.split('\t')
      const peer = this.#peers.get(publicKey)
      if (peer === undefined) continue
      const lastHandshakeMs = Number(handshake) > 0 ? 1000 * Number(handshake) : null
      const hasSession = lastHandshakeMs !== null && nowMs() - lastHandshakeMs < REJECT_AFTER_MS
      this.#peers.set(publicKey, { ...peer, lastHandshakeMs, hasSession, receivedBytes: Number(received), sentBytes: Number(sent) })
    }
  }

  #wg(words: readonly string[]): void {
    void this.#then(async () => {
      await this.#options.run('wg', ['set', this.#options.name, ...words])
    })
  }

  #then(act: () => Promise<void>): Promise<void> {
    const step = this.#after(this.#queue, act)
    this.#queue = step
    return step
  }

  async #after(earlier: Promise<unknown>, act: () => Promise<void>): Promise<void> {
    await earlier
    try {
      if (!this.#isClosed) await act()
    } catch (error) {
      this.#options.onFailure(asNearcastError(error))
    }
  }
}
