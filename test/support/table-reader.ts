/**
 * A thread that looks up addresses of a route table all the time, as data threads do, and complains about what can't be.
 * Addresses number k have service `srv<k>`, and their generation counts up; all other fields follow from that one.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { flycastAddress } from '../../lib/address.ts'
import type { NetworkId } from '../../lib/address.ts'
import { Route, RouteTable, Target } from '../../proxy/tables/route-table.ts'
import type { RouteTableHandle } from '../../proxy/tables/route-table.ts'

export interface TableReaderStart {
  readonly handle: RouteTableHandle
  readonly network: number
  /** Addresses 1 .. always are always there; those above, up to `addresses`, come and go. */
  readonly always: number
  readonly addresses: number
  /** Words: the first one, when not 0, ends it; in the one named `signal` it counts how often it has looked at all. */
  readonly shared: SharedArrayBuffer
  readonly signal: number
}

export interface TableReaderReport {
  readonly complaints: readonly string[]
  readonly lookUps: number
  readonly found: number
  readonly followed: number
}


function watch({ handle, network, always, addresses, shared, signal }: TableReaderStart): TableReaderReport {
  const signals = new Int32Array(shared)
  const table = new RouteTable(handle)
  const route = new Route()
  const target = new Target()
  const keys = Array.from({ length: addresses }, (_, index) => flycastAddress(network as NetworkId, (index + 1) * 0x1_0003_0007))
  const newest = new Int32Array(addresses)
  const complaints = new Set<string>()
  let lookUps = 0
  let found = 0
  let followed = 0
  while (Atomics.load(signals, 0) === 0 && complaints.size < 5) {
    for (let index = 0; index < addresses; index++) {
      const key = keys[index]
      if (key === undefined) continue
      lookUps++
      if (!table.find(key, route)) {
        if (index < always) complaints.add(`${index} is always there, and was missed`)
        continue
      }
      found++
      const { generation, tls, particularTls } = route
      if (particularTls !== (generation % 2 === 1) || (tls === 'terminate') !== (generation % 3 === 0)) {
        complaints.add(`${index}: ${JSON.stringify(route)}`)
      }
      if (route.network !== network || generation < (newest[index] ?? 0)) complaints.add(`${index}: generation ${generation} after ${newest[index]}`)
      newest[index] = generation
      if (!table.follow(route, target)) continue
      followed++
      const id = String.fromCharCode(...target.service.subarray(0, target.serviceBytes))
      if (id !== `srv${index % 64}`) complaints.add(`${index}: service ${id}`)
      const names = table.names(route)
      if (names === null) continue
      const [name, filler = ''] = JSON.parse(names) as string[]
      if (name !== id || /[^x]/.test(filler)) complaints.add(`${index}: names ${names}`)
      // Whatever their order: neighbours, and as many as the first one says.
      const nodes = [...target.nodes.subarray(0, target.count)].toSorted((left, right) => left - right)
      const [first = -1] = nodes
      if (first % 10 !== 0 || nodes.some((node, at) => node !== first + at)) complaints.add(`${index}: nodes ${nodes.join()}`)
    }
    Atomics.add(signals, signal, 1)
  }
  return { complaints: [...complaints], lookUps, found, followed }
}

parentPort?.postMessage(watch(workerData as TableReaderStart), [])
