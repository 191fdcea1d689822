/** The backbone without a host: whom a device holds and reaches, keys that change, routes that follow. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parseIpv6 } from '../../lib/address.ts'
import type { BackboneRow } from '../../lib/feed/messages.ts'
import type { RunCommand } from '../../lib/host-command.ts'
import { Device } from '../../lib/wireguard/device.ts'
import { clampPrivate, KeyPair } from '../../lib/wireguard/keys.ts'
import { MemoryBind, MemoryNetwork } from '../../lib/wireguard/memory-bind.ts'
import { MemoryTun } from '../../lib/wireguard/memory-tun.ts'
import { FarewellTun } from '../../router/backbone/farewell-tun.ts'
import { BackboneKeys } from '../../router/backbone/keys.ts'
import { Mesh } from '../../router/backbone/mesh.ts'
import { BackboneRoutes } from '../../router/backbone/routes.ts'
import { until } from '../support/until.ts'

function newKey(): { readonly privateKey: () => Uint8Array; readonly publicKey: string } {
  const bytes = clampPrivate(randomBytes(32))
  return { privateKey: () => Uint8Array.from(bytes), publicKey: KeyPair.fromPrivate(Uint8Array.from(bytes)).publicKey.text }
}

function packet(from: string, to: string, number: number): Uint8Array {
  const bytes = new Uint8Array(44)
  bytes[0] = 0x60
  bytes[5] = 4
  bytes[6] = 17
  bytes.set(parseIpv6(from), 8)
  bytes.set(parseIpv6(to), 24)
  new DataView(bytes.buffer).setUint32(40, number)
  return bytes
}

function route(verb: string, address: string): string {
  return `route ${verb} ${address}/128 dev bb src fd0c::1 table 7400`
}

class Host {
  readonly key = newKey()
  readonly received: number[] = []
  readonly tun = new MemoryTun((bytes) => this.received.push(new DataView(bytes.buffer).getUint32(40)))
  readonly farewell = new FarewellTun(this.tun, (address) => this.mesh.farewell(address))
  readonly device: Device
  readonly mesh: Mesh
  readonly address: string
  readonly id: string

  constructor(number: number, network: MemoryNetwork, nowMs: () => number) {
    this.id = `host-${number}`
    this.address = `fd0c::${number}`
    const bind = new MemoryBind(network, { host: this.address, port: 51821 })
    this.device = new Device({ privateKey: this.key.privateKey(), bind, tun: this.farewell, admit: (key) => this.mesh.admit(key) })
    this.mesh = new Mesh({ self: this.id, device: Object.assign(this.device, { admits: true }), keepaliveSeconds: 1, silenceMs: 3000, nowMs })
  }

  row(...keys: string[]): BackboneRow {
    return { id: this.id, host: this.id, keys: keys.length > 0 ? keys : [this.key.publicKey], endpoint: `[${this.address}]:51821`, addresses: [this.address] }
  }

  send(to: Host, number: number): void {
    this.tun.inject(packet(this.address, to.address, number))
  }
}

describe('a mesh of three', () => {
  let clockMs = 0
  let madeMs = 0
  let hosts: readonly [Host, Host, Host]
  const told = (...rows: BackboneRow[]): void => {
    for (const { mesh } of hosts) mesh.apply(new Map(rows.map((row) => [row.id, row])))
  }
  const reached = (host: Host): string[] => host.mesh.reached().map(({ id }) => id)

  beforeEach(async () => {
    clockMs = 0
    const network = new MemoryNetwork()
    hosts = [new Host(1, network, () => clockMs), new Host(2, network, () => clockMs), new Host(3, network, () => clockMs)]
    await Promise.all(hosts.map(({ device }) => device.open()))
    told(...hosts.map((host) => host.row()))
    await until('all reach all', () => hosts.every((host) => reached(host).length === 2))
    madeMs = performance.now()
  })
  afterEach(() => Promise.all(hosts.map(({ device }) => device.close())))

  test('nobody has to send first; a host that leaves is left, and the others notice nothing', async () => {
    const [one, two, three] = hosts
    one.send(two, 1)
    await until('it arrives', () => two.received.includes(1))
    const handshake = two.device.peers().find(({ publicKey }) => publicKey === one.key.publicKey)?.lastHandshakeMs
    one.farewell.sayFarewell(one.address, one.mesh.gone(new Map([two.row()].map((row) => [row.id, row]))))
    told(one.row(), two.row())
    expect([reached(one), reached(two), one.device.peerCount]).toEqual([['host-2'], ['host-1'], 1])
    // It still knows them; they don't know it.
    three.send(one, 3)
    one.send(three, 3)
    one.send(two, 2)
    await until('the other one arrives', () => two.received.includes(2))
    expect([one.received, three.received]).toEqual([[], []])
    await until('it leaves who has told it', () => reached(three).join() === 'host-2')
    expect(two.device.peers()[0]?.lastHandshakeMs).toBe(handshake)
    // Who greets twice within 20 ms is heard once.
    await until('it may greet again', () => performance.now() - madeMs > 25)
    told(...hosts.map((host) => host.row()))
    await until('it is back', () => reached(one).length === 2)
    expect(two.device.peers().find(({ publicKey }) => publicKey === one.key.publicKey)?.lastHandshakeMs).toBe(handshake)
  })

  test('a host that falls silent is not reached, until it speaks', async () => {
    const [one, two, three] = hosts
    await two.device.close()
    expect(reached(one)).toEqual(['host-2', 'host-3'])
    // The clock here is the mesh's alone: what keepalives bring between two looks counts as heard.
    await until('only the silent one is left out', () => {
      clockMs += 400
      return reached(one).join() === 'host-3'
    })
    three.send(one, 7)
    await until('the third is heard', () => one.received.includes(7))
  })

  test('a host that says farewell is left at once, and taken back with its next handshake', async () => {
    const [one, two, three] = hosts
    two.farewell.sayFarewell(two.address, [one.address])
    await until('one has left it', () => reached(one).join() === 'host-3')
    expect([reached(three), reached(two)]).toEqual([['host-1', 'host-2'], ['host-1', 'host-3']])
    expect(one.received).toEqual([])
    // What is still under way comes in.
    two.send(one, 4)
    await until('it arrives', () => one.received.includes(4))
    expect(reached(one)).toEqual(['host-3'])
    await until('it may greet again', () => performance.now() - madeMs > 25)
    two.device.removePeer(one.key.publicKey)
    two.mesh.apply(new Map())
    two.mesh.apply(new Map([one.row(), three.row()].map((row) => [row.id, row])))
    await until('it is back', () => reached(one).length === 2)
  })

  test('a new key: what the others send and get goes on, whichever step they are at', async () => {
    const [one, two, three] = hosts
    const next = newKey()
    const others = (): void => {
      two.send(three, 100)
      three.send(two, 100)
    }
    let number = 0
    /** What is under way at the moment of the change is lost, as on any line: so it is said again. */
    const exchange = async (): Promise<void> => {
      const mine = ++number
      others()
      await until(`${mine} arrives on both sides`, () => {
        if (!two.received.includes(mine)) one.send(two, mine)
        if (!one.received.includes(mine)) two.send(one, mine)
        return two.received.includes(mine) && one.received.includes(mine)
      })
    }
    await exchange()
    const rows = [two.row(), three.row()]
    told(one.row(one.key.publicKey, next.publicKey), ...rows)
    await exchange()
    // It uses the new one; two has heard of it, three hasn't yet.
    one.device.setPrivateKey(next.privateKey())
    const taken = one.row(next.publicKey, one.key.publicKey)
    for (const host of [one, two]) host.mesh.apply(new Map([taken, ...rows].map((row) => [row.id, row])))
    one.mesh.greet()
    await exchange()
    await until('three, too', () => {
      one.send(three, 500)
      three.send(one, 501)
      return three.received.includes(500) && one.received.includes(501)
    })
    told(one.row(next.publicKey), ...rows)
    await exchange()
    expect(two.device.peers().map(({ publicKey }) => publicKey).toSorted()).toEqual([next.publicKey, three.key.publicKey].toSorted())
    expect([two.received.filter((each) => each === 100).length, three.received.filter((each) => each === 100).length]).toEqual([number, number])
  })

  test('nobody takes the address of another, and no stranger comes in', async () => {
    const [one, two, three] = hosts
    three.tun.inject(packet(two.address, one.address, 9))
    three.send(one, 10)
    await until('what is its own arrives', () => one.received.includes(10))
    expect(one.received).toEqual([10])
    expect(one.device.drops.get('source')).toBe(1)
    expect(one.mesh.admit(newKey().publicKey)).toBeNull()
  })

  test('a host that moves is found where it says', () => {
    const [one, two, three] = hosts
    told(one.row(), { ...two.row(), endpoint: '[fd0c::77]:9', addresses: ['fd0c::2', 'fd0c::22'] }, three.row())
    expect(one.device.peers().find(({ publicKey }) => publicKey === two.key.publicKey)).toMatchObject({ endpoint: { host: 'fd0c::77', port: 9 }, allowedIps: ['fd0c::2/128', 'fd0c::22/128'] })
  })
})

describe('keys on disk', () => {
  let directory: string
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'nearcast-backbone-'))
  })
  afterEach(() => rmSync(directory, { recursive: true }))

  test('the next one is used when the feed says so, also after a restart in between', () => {
    const keys = new BackboneKeys(directory)
    const first = keys.publicKey
    expect(statSync(join(directory, 'wireguard.key')).mode & 0o777).toBe(0o600)
    const next = keys.offer()
    expect(keys.offer()).toBe(next)
    expect(statSync(join(directory, 'wireguard.next.key')).mode & 0o777).toBe(0o600)
    expect(keys.follow([first, next])).toBeNull()
    const again = new BackboneKeys(directory)
    expect(again.publicKey).toBe(first)
    const privateKey = again.follow([next, first])
    expect(KeyPair.fromPrivate(privateKey ?? expect.fail('none')).publicKey.text).toBe(next)
    expect([again.publicKey, again.follow([next]), new BackboneKeys(directory).publicKey]).toEqual([next, null, next])
    expect(again.privateKey()).toHaveLength(32)
  })

  test('an offer that nobody took is made anew; a key that was never ours is said', () => {
    const keys = new BackboneKeys(directory)
    const offered = keys.offer()
    const other = newKey().publicKey
    expect(keys.follow([keys.publicKey, other])).toBeNull()
    expect(keys.offer()).not.toBe(offered)
    expect(() => keys.follow([other])).toThrow(expect.objectContaining({ code: 'backbone.key-unknown' }))
  })

  test('one that has joined and lost its key does not start with another', () => {
    writeFileSync(join(directory, 'identity.json'), JSON.stringify({ identity: 'backbone/a', certificate: 'c', key: 'k', ca: 'a' }))
    expect(() => new BackboneKeys(directory)).toThrow(expect.objectContaining({ code: 'identity.invalid' }))
    expect(readFileSync(join(directory, 'identity.json'), 'utf8')).toContain('backbone/a')
  })
})

describe('routes', () => {
  const ran: string[] = []
  let present: readonly number[] = []
  const run: RunCommand = (_program, args, input = '') => {
    if (args.includes('show')) return Promise.resolve(JSON.stringify(present.map((priority) => ({ priority }))))
    ran.push(...input.trim().split('\n'))
    return Promise.resolve('')
  }
  beforeEach(() => void ran.splice(0))
  const routes = (required: { readonly feedPort: number } | null): BackboneRoutes => new BackboneRoutes({ name: 'bb', source: 'fd0c::1', required, run })

  test('only what changes is changed, and connections hear of it', async () => {
    present = []
    const table = routes(null)
    await table.open()
    expect(ran.splice(0)).toEqual(['rule add priority 7400 fwmark 20035 lookup main', 'rule add priority 7401 lookup 7400'])
    await table.replace(new Set(['fd0c::2', 'fd0c::3']), new Set())
    const flush = ['rule add priority 7404 lookup 7400', 'rule del priority 7404']
    expect(ran.splice(0)).toEqual([route('replace', 'fd0c::2'), route('replace', 'fd0c::3'), ...flush])
    await table.replace(new Set(['fd0c::3', 'fd0c::2']), new Set(['fd0c::9']))
    expect(ran).toEqual([])
    await table.replace(new Set(['fd0c::3']), new Set())
    expect(ran.splice(0)).toEqual([route('del', 'fd0c::2'), ...flush])
    present = [0, 7400, 7401, 7800, 32_766]
    await table.close()
    expect(ran.splice(0)).toEqual(['rule del priority 7400', 'route flush table 7400', 'rule del priority 7401'])
  })

  test('required: who is not reached is closed, from the start and after the end', async () => {
    present = [7401, 7402, 7403]
    const table = routes({ feedPort: 7300 })
    await table.open()
    expect(ran.splice(0)).toEqual([
      'route flush table 7400',
      'rule del priority 7401',
      'rule del priority 7402',
      'route flush table 7401',
      'rule del priority 7403',
      'rule add priority 7400 fwmark 20035 lookup main',
      'rule add priority 7402 ipproto tcp dport 7300 lookup main',
      'rule add priority 7402 ipproto tcp sport 7300 lookup main',
      'rule add priority 7403 lookup 7401',
      'rule add priority 7401 lookup 7400',
    ])
    await table.replace(new Set(), new Set(['fd0c::2']))
    expect(ran.splice(0)[0]).toBe('route replace unreachable fd0c::2/128 table 7401')
    await table.close()
    expect(ran).toEqual([])
  })
})
