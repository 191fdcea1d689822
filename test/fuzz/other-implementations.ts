/**
 * The same inputs read by others: proxy-protocol-js in this process, HAProxy and nginx as real ones. None of them is right
 * by definition: where two take a header they must read the same end points from it; where only one does it is counted, by
 * our reason, for a person to look at.
 */
import { connect } from 'node:net'
import { join } from 'node:path'
import { V2ProxyProtocol } from 'proxy-protocol-js'
import { formatIpv6, ipv6FromBytes, isIpv6Text, parseIpv6 } from '../../lib/address.ts'
import { decode } from '../../lib/proxy-protocol/decode.ts'
import { encodeV2 } from '../../lib/proxy-protocol/encode.ts'
import type { ProxyHeader } from '../../lib/proxy-protocol/header.ts'
import type { ForeignProgram } from '../support/foreign-proxy.ts'
import { ForeignProxy, foreignVersion, nginxStreamModule } from '../support/foreign-proxy.ts'
import type { Random } from '../support/random.ts'
import { damaged, isPastSignature } from './hostile-inputs.ts'

const HTTP = Buffer.from('GET / HTTP/1.0\r\n\r\n')
const ANSWER_MS = 400
const AT_ONCE = 16

export interface Difference {
  readonly times: number
  /** The first one, in hex. */
  readonly example: string
}

export interface Comparison {
  readonly program: string
  readonly inputs: number
  readonly bothTake: number
  readonly bothRefuse: number
  /** Our header's kind -> how often they refused it. */
  readonly onlyWeTake: Readonly<Record<string, Difference>>
  /** Our reason -> how often they took it nevertheless. */
  readonly onlyTheyTake: Readonly<Record<string, Difference>>
  /** Both took it and read other end points: each is a fault of one of the two. */
  readonly disagreements: readonly string[]
}

/** @returns what proxy-protocol-js makes of a header that we take; null when it agrees, or doesn't know the kind. */
export function disagreesWithPackage(bytes: Uint8Array): string | null {
  const answer = decode(bytes)
  if (answer.state !== 'done' || answer.header.version !== 2 || answer.header.command !== 'proxy') return null
  const { addresses } = answer.header
  if (addresses.family === 'unspecified') return null
  const theirs = V2ProxyProtocol.parse(bytes)?.build()
  const ours = encodeV2({ command: 'proxy', addresses })
  // It takes TLVs for payload: only the addresses compare.
  const same = theirs !== undefined && Buffer.compare(theirs.subarray(16, ours.length), ours.subarray(16)) === 0
  return same ? null : `proxy-protocol-js reads ${Buffer.from(bytes).toString('hex')} differently`
}

/** null where the program isn't installed. */
export async function compare(program: ForeignProgram, random: Random, inputs: number): Promise<Comparison | null> {
  const module = program === 'nginx' ? nginxStreamModule() : ''
  if (module === null || foreignVersion(program) === null) return null
  const proxy = new ForeignProxy()
  const counts = { bothTake: 0, bothRefuse: 0 }
  const onlyWeTake: Record<string, Difference> = {}
  const onlyTheyTake: Record<string, Difference> = {}
  const disagreements: string[] = []
  let left = inputs
  try {
    await proxy.start(program, program === 'haproxy' ? haproxyConfig(proxy) : nginxConfig(proxy, module))
    const work = async (): Promise<void> => {
      while (left-- > 0) {
        const bytes = askable(random)
        const answer = decode(bytes)
        const seen = await ask(proxy.ready, bytes)
        if (answer.state === 'done' && seen !== null) {
          counts.bothTake++
          const ours = endsOf(answer.header)
          if (ours !== null && seen !== ours) disagreements.push(`${seen} instead of ${ours}: ${Buffer.from(bytes).toString('hex')}`)
        } else if (answer.state === 'done') count(onlyWeTake, kindOf(answer.header), bytes)
        else if (seen === null) counts.bothRefuse++
        else count(onlyTheyTake, answer.state === 'invalid' ? answer.reason.replaceAll(/\d+/g, 'N') : answer.state, bytes)
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))
  } finally {
    await proxy.stop()
  }
  return { program: foreignVersion(program) ?? program, inputs, ...counts, onlyWeTake, onlyTheyTake, disagreements }
}

/** An input past its first stage, cut where our header ends, with a request behind it. */
function askable(random: Random): Uint8Array {
  for (;;) {
    const bytes = damaged(random)
    if (!isPastSignature(bytes)) continue
    const answer = decode(bytes)
    // The request would become part of it.
    if (answer.state === 'incomplete') continue
    return Buffer.concat([answer.state === 'done' ? bytes.subarray(0, answer.headerBytes) : bytes, HTTP])
  }
}

/** @returns `source destination source-port destination-port` as the program saw them, null when it took no header. */
function ask(path: string, bytes: Uint8Array): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect(path)
    let text = ''
    const timer = setTimeout(() => socket.destroy(), ANSWER_MS)
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
    socket.on('error', () => {})
    socket.on('close', () => {
      clearTimeout(timer)
      const seen = /seen:(\S*) (\S*) (\S*) (\S*):seen/.exec(text)
      resolve(seen === null ? null : endsText(seen.slice(1)))
    })
    socket.write(bytes)
  })
}

/** nginx hands on an address of version 1 as it was spelled; both write nothing for port 0. */
function endsText([source = '', destination = '', sourcePort = '', destinationPort = '']: readonly string[]): string {
  return [oneSpelling(source), oneSpelling(destination), sourcePort || '0', destinationPort || '0'].join(' ')
}

function oneSpelling(address: string): string {
  return isIpv6Text(address) ? formatIpv6(parseIpv6(address)) : address
}

function endsOf({ addresses }: ProxyHeader): string | null {
  if (addresses.family === 'unspecified' || addresses.family === 'unix' || addresses.transport !== 'stream') return null
  const { family, source, destination } = addresses
  const text = (ip: Uint8Array): string => (family === 'ipv4' ? ip.join('.') : formatIpv6(ipv6FromBytes(ip)))
  const [from, to] = [text(source.ip), text(destination.ip)]
  // Programs write such addresses with a dotted quad; what is read from the others shows how bytes are read.
  if (family === 'ipv6' && /^::(ffff:)?[0-9a-f]+(:[0-9a-f]+)?$/.test(`${from} ${to}`.split(' ').find((each) => each.startsWith('::')) ?? '')) return null
  return `${from} ${to} ${source.port} ${destination.port}`
}

function kindOf(header: ProxyHeader): string {
  const { addresses } = header
  if (header.version === 2 && header.command === 'local') return 'v2 local'
  return `v${header.version} ${addresses.family}${addresses.family === 'unspecified' ? '' : ` ${addresses.transport}`}`
}

function count(counts: Record<string, Difference>, key: string, bytes: Uint8Array): void {
  counts[key] = { times: (counts[key]?.times ?? 0) + 1, example: counts[key]?.example ?? Buffer.from(bytes).toString('hex').slice(0, 200) }
}

function haproxyConfig(proxy: ForeignProxy): string {
  return `
defaults
  mode http
  timeout connect 1s
  timeout client ${ANSWER_MS}ms
  timeout server 1s
frontend receive
  bind unix@${proxy.ready} accept-proxy
  http-request return status 200 content-type text/plain lf-string "seen:%[src] %[dst] %[src_port] %[dst_port]:seen"
`
}

function nginxConfig(proxy: ForeignProxy, module: string): string {
  return `
${module}
daemon off;
master_process off;
error_log /dev/null;
pid ${join(proxy.dir, 'nginx.pid')};
events { worker_connections 128; }
stream {
  proxy_protocol_timeout ${ANSWER_MS}ms;
  server {
    listen unix:${proxy.ready} proxy_protocol;
    return "seen:$proxy_protocol_addr $proxy_protocol_server_addr $proxy_protocol_port $proxy_protocol_server_port:seen";
  }
}
`
}
