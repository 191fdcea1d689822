/**
 * Runs inside a private namespace: two hosts joined by cli/dev/link-relay.ts, measured by ping and a TCP stream.
 * Prints one JSON object; test/interop/link-relay.test.ts judges it.
 *
 *   left (fd00::1) ──veth── a-b │ link-relay │ b-a ──veth── (fd00::2) right
 */
import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'

function ip(...words: string[]): void {
  execFileSync('ip', words.join(' ').split(' '), { stdio: ['ignore', 'inherit', 'inherit'] })
}

function build(): void {
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run'])
  for (const [host, port, address] of [['left', 'a-b', 'fd00::1'], ['right', 'b-a', 'fd00::2']] as const) {
    ip('netns add', host)
    ip('link add', port, 'type veth peer name eth0 netns', host)
    ip('link set', port, 'up')
    ip('-n', host, 'link set eth0 up')
    ip('-n', host, `address add ${address}/64 dev eth0 nodad`)
  }
}

/** Round-trip times in ms, one per answer. */
function ping(count: number, deadlineSeconds = 5): number[] {
  try {
    const words = ['netns', 'exec', 'left', 'ping', '-6', '-n', '-i', '0.05', '-c', String(count), '-w', String(deadlineSeconds), 'fd00::2']
    const output = execFileSync('ip', words, { stdio: ['ignore', 'pipe', 'ignore'] }).toString()
    return [...output.matchAll(/time=([\d.]+)/g)].map((match) => Number(match[1]))
  } catch {
    return []
  }
}

const STREAM_BYTES = 64 << 20
const RECEIVER = `
  const hash = require('crypto').createHash('sha256'); let bytes = 0, firstMs
  require('net').createServer((s) => { s.on('data', (d) => { firstMs ??= performance.now(); bytes += d.length; hash.update(d) })
    s.on('error', () => {}).on('end', () => { if (bytes > 0) console.log(JSON.stringify({ bytes, ms: performance.now() - firstMs, sha256: hash.digest('hex') })); if (bytes > 0) process.exit(); s.end() }) }).listen(7000, '::', () => console.log('ready'))`
/** The quickest of several connections: what a busy machine adds to one is not the link's. */
const SENDER = `
  const net = require('net')
  const once = () => new Promise((done) => { const started = performance.now()
    const s = net.connect(7000, 'fd00::2', () => { const ms = performance.now() - started; s.end(() => done(ms)) }) })
  const times = []
  const measure = async () => { while (times.length < 10) times.push(await once()); return Math.min(...times) }
  measure().then((connectMs) => net.connect(7000, 'fd00::2', function () { const s = this; console.log(JSON.stringify({ connectMs }))
    let left = ${STREAM_BYTES}, n = 0
    const more = () => { while (left > 0) { const b = Buffer.alloc(65536, n++ & 255); left -= b.length; if (!s.write(b)) return s.once('drain', more) } s.end() }
    more() }))`

function node(host: string, source: string): ChildProcess {
  return spawn('ip', ['netns', 'exec', host, process.execPath, '-e', source], { stdio: ['ignore', 'pipe', 'inherit'] })
}

async function stream(): Promise<{ connectMs: number; bytes: number; ms: number; intact: boolean }> {
  const receiver = node('right', RECEIVER)
  const results: string[] = []
  const collect = (child: ChildProcess): unknown => child.stdout?.on('data', (data: Buffer) => results.push(...data.toString().trim().split('\n')))
  collect(receiver)
  await once(receiver.stdout ?? receiver, 'data')
  const sender = node('left', SENDER)
  collect(sender)
  await Promise.all([once(receiver, 'exit'), once(sender, 'exit')])
  const told = Object.assign({}, ...results.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as object)) as Record<string, unknown>
  const expected = createHash('sha256')
  for (let n = 0; n < STREAM_BYTES / 65536; n++) expected.update(Buffer.alloc(65536, n & 255))
  return { connectMs: Number(told['connectMs']), bytes: Number(told['bytes']), ms: Number(told['ms']), intact: told['sha256'] === expected.digest('hex') }
}

build()
const relay = spawn(process.execPath, [new URL('../../cli/dev/link-relay.ts', import.meta.url).pathname, 'a-b=20'], { stdio: ['pipe', 'pipe', 'inherit'] })
await once(relay.stdout, 'data')
const command = (line: string): boolean => relay.stdin.write(`${line}\n`)
ping(1) // Neighbour discovery costs one more round trip.
const at20 = ping(20)
const streamed = await stream()
command('rtt a-b 60')
const at60 = ping(10)
command('drop a-b')
const dropped = ping(3, 1)
command('restore a-b')
const restored = ping(3)
relay.stdin.end()
const [exitCode] = (await once(relay, 'exit')) as [number]
process.stdout.write(`${JSON.stringify({ at20, streamed, at60, dropped, restored, exitCode })}\n`)
