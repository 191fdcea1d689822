/**
 * WireGuard engines in simulated time: a network that loses, delays, doubles and reorders datagrams as it is told, from a
 * seed. Nothing here waits: a day of timers takes as long as its events.
 */
import { Engine } from '../../lib/wireguard/engine.ts'
import type { EngineOptions } from '../../lib/wireguard/engine.ts'
import type { Endpoint } from '../../lib/wireguard/bind.ts'
import { clampPrivate } from '../../lib/wireguard/keys.ts'
import type { Random } from './random.ts'

export interface Weather {
  /** 0 .. 1, each for every datagram. */
  readonly loss: number
  readonly doubling: number
  /** Milliseconds under way, at most. Different ones reorder. */
  readonly delayMs: number
}

interface Flight {
  readonly atMs: number
  readonly order: number
  readonly arrive: () => void
}

export interface Station {
  readonly name: string
  readonly engine: Engine
  endpoint: Endpoint
  readonly delivered: { readonly packet: Uint8Array; readonly from: string }[]
  /** Every datagram that it sent, with its time. */
  readonly sent: { readonly datagram: Uint8Array; readonly atMs: number }[]
}

/** Everything arrives, in its order. */
export const CALM: Weather = { loss: 0, doubling: 0, delayMs: 0 }

export class Network {
  nowMs = 1_000
  /** Of the wall clocks: may be set anywhere. */
  wallMs = Date.UTC(2026, 0, 1)
  weather: Weather = CALM
  readonly stations: Station[] = []
  readonly #random: Random
  readonly #flights: Flight[] = []
  #order = 0

  constructor(random: Random) {
    this.#random = random
  }

  add(name: string, options: Partial<EngineOptions> = {}): Station {
    const privateKey = clampPrivate(this.#random.bytes(32))
    const station: Station = {
      name,
      endpoint: { host: `192.0.2.${this.stations.length + 1}`, port: 51820 },
      delivered: [],
      sent: [],
      engine: new Engine({
        privateKey,
        clock: { monotonicMs: () => this.nowMs, wallMs: () => this.wallMs },
        random: (count) => this.#random.bytes(count),
        output: {
          send: (datagram, to) => {
            station.sent.push({ datagram, atMs: this.nowMs })
            this.#fly(datagram, station.endpoint, to)
          },
          deliver: (packet, from) => station.delivered.push({ packet: Uint8Array.from(packet), from }),
        },
        ...options,
      }),
    }
    this.stations.push(station)
    return station
  }

  /** Each is a peer of the other, with one address. */
  introduce(left: Station, right: Station, presharedKey: Uint8Array | null = null): void {
    left.engine.setPeer(right.engine.publicKey, { endpoint: right.endpoint, allowedIps: [insideOf(right)], presharedKey })
    right.engine.setPeer(left.engine.publicKey, { endpoint: left.endpoint, allowedIps: [insideOf(left)], presharedKey })
  }

  /** Lets time pass, with whatever happens meanwhile in its order. */
  run(durationMs: number): void {
    const untilMs = this.nowMs + durationMs
    for (;;) {
      const flight = this.#flights.reduce<Flight | null>((first, each) => (first === null || each.atMs < first.atMs || (each.atMs === first.atMs && each.order < first.order) ? each : first), null)
      const deadlineMs = Math.min(...this.stations.map(({ engine }) => engine.nextDeadlineMs))
      const nextMs = Math.min(flight?.atMs ?? Infinity, deadlineMs)
      if (nextMs > untilMs) break
      this.#pass(Math.max(nextMs, this.nowMs))
      if (flight !== null && flight.atMs <= deadlineMs) {
        this.#flights.splice(this.#flights.indexOf(flight), 1)
        flight.arrive()
      } else for (const { engine } of this.stations) if (engine.nextDeadlineMs <= this.nowMs) engine.tick()
    }
    this.#pass(untilMs)
  }

  /** Both clocks go on, as when machines sleep: nothing happens meanwhile. */
  sleep(durationMs: number): void {
    this.#pass(this.nowMs + durationMs)
    for (const { engine } of this.stations) engine.tick()
  }

  inject(datagram: Uint8Array, from: Endpoint, to: Station): void {
    to.engine.receive(datagram, from)
  }

  #pass(toMs: number): void {
    this.wallMs += toMs - this.nowMs
    this.nowMs = toMs
  }

  #fly(datagram: Uint8Array, from: Endpoint, to: Endpoint): void {
    const copies = this.#chance(this.weather.doubling) ? 2 : 1
    for (let copy = 0; copy < copies; copy++) {
      if (this.#chance(this.weather.loss)) continue
      const atMs = this.nowMs + (this.weather.delayMs * this.#random.below(1000)) / 1000
      const arrive = (): void => this.stations.find(({ endpoint }) => endpoint.host === to.host && endpoint.port === to.port)?.engine.receive(Uint8Array.from(datagram), from)
      this.#flights.push({ atMs, order: this.#order++, arrive })
    }
  }

  #chance(probability: number): boolean {
    return probability > 0 && this.#random.below(1_000_000) < probability * 1_000_000
  }
}

/** `fdaa:0:1:2::<last part of its outer address>` */
export function insideOf({ endpoint }: Station, part = endpoint.host.split('.').at(-1) ?? '0'): string {
  return `fdaa:0:1:2::${Number(part).toString(16)}`
}

/** An IPv6 packet between the addresses inside, next header 59 (none), whose payload is `payload`. */
export function packetBetween(from: Station, to: Station, payload: Uint8Array): Uint8Array {
  return ipv6Packet(lastByte(from), lastByte(to), payload)
}

export function ipv6Packet(from: number, to: number, payload: Uint8Array): Uint8Array {
  const packet = new Uint8Array(40 + payload.length)
  packet[0] = 0x60
  packet[4] = payload.length >> 8
  packet[5] = payload.length & 0xff
  packet[6] = 59
  for (const [offset, last] of [[8, from], [24, to]] as const) {
    packet.set([0xfd, 0xaa, 0, 0, 0, 1, 0, 2], offset)
    packet[offset + 15] = last
  }
  packet.set(payload, 40)
  return packet
}

function lastByte({ endpoint }: Station): number {
  return Number(endpoint.host.split('.').at(-1))
}
