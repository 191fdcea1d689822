/** Machines with wireguard-go at two gateways (crossing-network.ts). Skipped, with the reason, where that can't be had. */
import { afterAll, expect, test } from 'vitest'
import { CrossingNetwork } from '../support/crossing-network.ts'

/** A machine that others load takes seconds to start a program, and there are many here. */
const PATIENCE_MS = 60_000
const opened = await CrossingNetwork.open()
const forbidden = typeof opened === 'string' ? opened : false
afterAll(async () => {
  if (typeof opened !== 'string') await opened.close()
})

/** Says what came: bytes and their sum, for a stream on TCP and each datagram on UDP. */
const SERVER = `
const sum = (bytes) => String(bytes.length) + ' ' + require('node:crypto').createHash('sha256').update(bytes).digest('hex')
const udp = require('node:dgram').createSocket('udp6')
udp.on('message', (bytes, from) => udp.send(sum(bytes), from.port, from.address))
udp.bind(7000, process.argv[1], () => require('node:net').createServer({ allowHalfOpen: true }, (socket) => {
  const parts = []
  socket.on('data', (part) => parts.push(part)).on('end', () => socket.end(sum(Buffer.concat(parts))))
}).listen(7000, process.argv[1], () => console.log('listening')))`
const SUM = `const bytes = require('node:crypto').randomBytes(Number(process.argv[2])), sum = String(bytes.length) + ' ' + require('node:crypto').createHash('sha256').update(bytes).digest('hex');`
const STREAM = `${SUM}
let answer = ''
const socket = require('node:net').connect({ port: 7000, host: process.argv[1], allowHalfOpen: true })
socket.on('data', (data) => answer += data).on('end', () => console.log(answer === sum ? 'whole' : 'broken ' + answer))
socket.end(bytes)`
/** Repeated, as the first long one only finds out how long they may be. */
const DATAGRAM = `${SUM}
const udp = require('node:dgram').createSocket('udp6')
const send = () => udp.send(bytes, 7000, process.argv[1], () => undefined)
const again = setInterval(send, 100)
setTimeout(() => process.exit(1), 20000).unref()
udp.on('message', (answer) => { clearInterval(again); udp.close(); console.log(String(answer) === sum ? 'whole' : 'broken ' + answer) })
send()`

test.skipIf(forbidden !== false)(
  `stock clients of one network at two gateways: ping, TCP and UDP both ways, longer than a packet, and nobody else's${forbidden === false ? '' : ` (skipped: ${forbidden})`}`,
  { timeout: PATIENCE_MS },
  async () => {
    if (typeof opened === 'string') throw new Error(opened)
    const network = opened
    const [one, two] = await Promise.all([network.startGateway('gw1'), network.startGateway('gw2')])
    for (const name of ['near', 'far', 'other'] as const) network.startMachine(name)
    const [near, far] = [network.address('near'), network.address('far')]
    // The gateways' own handshake, and that each has told the other whom it has.
    network.run('near', 'sh', '-c', `for try in $(seq 100); do ping -6 -c 1 -W 1 ${far} > /dev/null 2>&1 && exit 0; sleep 0.1; done; exit 1`)
    network.run('far', 'ping', '-6', '-c', '3', '-i', '0.1', '-W', '2', near)

    // The longest packet for the way between gateways; one more is refused, and its sender told how long they may be.
    const whole = (bytes: number): string => `ping -6 -c 1 -W 1 -M do -s ${bytes - 48} ${far} > /dev/null 2>&1`
    network.run('near', 'sh', '-c', `for try in $(seq 20); do ${whole(1340)} && exit 0; done; exit 1`)
    network.run('near', 'sh', '-c', `for try in $(seq 20); do ${whole(1341)} && exit 1; ip -6 route get ${far} | grep -q 'mtu 1340' && exit 0; done; exit 1`)
    // In pieces, then, as soon as who answers has found out, too.
    network.run('near', 'sh', '-c', `for try in $(seq 20); do ping -6 -c 1 -W 1 -s 5000 ${far} > /dev/null && exit 0; done; exit 1`)

    await Promise.all([network.serve('near', SERVER, near), network.serve('far', SERVER, far)])
    expect([network.node('near', STREAM, far, '2000000'), network.node('far', STREAM, near, '2000000')]).toEqual(['whole', 'whole'])
    for (const bytes of ['1300', '4000']) expect([network.node('near', DATAGRAM, far, bytes), network.node('far', DATAGRAM, near, bytes)]).toEqual(['whole', 'whole'])

    // Another network's machine, at the other gateway; then with somebody else's address.
    network.widen('other', 'near')
    const before = await two()
    expect(() => network.run('other', 'ping', '-6', '-c', '2', '-i', '0.1', '-W', '0.3', near)).toThrow()
    network.run('other', 'ip', 'addr', 'add', `${far}/128`, 'dev', 'wg-other', 'nodad')
    expect(() => network.run('other', 'ping', '-6', '-c', '2', '-i', '0.1', '-W', '0.3', '-I', far, near)).toThrow()
    const after = await two()
    expect([(after.inner['foreign'] ?? 0) - (before.inner['foreign'] ?? 0), (after.device['source'] ?? 0) - (before.device['source'] ?? 0)]).toEqual([2, 2])
    expect([await one(), after]).toMatchObject([{ reached: 1, installed: 1, elsewhere: 2 }, { reached: 1, installed: 2, elsewhere: 1 }])
  },
)
