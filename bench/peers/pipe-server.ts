/** The plain Node pipe as a process of its own (pipe.ts). */
import { connect, createServer } from 'node:net'
import { encodeV2 } from '../../lib/proxy-protocol/encode.ts'
import { socketAddress } from '../../lib/plane/socket-address.ts'

const { host, port, backend } = JSON.parse(process.env['BENCH_PIPE'] ?? '{}') as { host: string; port: number; backend: string }

const server = createServer({ noDelay: true }, (client) => {
  const source = socketAddress(client.remoteAddress, client.remotePort)
  const destination = socketAddress(client.localAddress, client.localPort)
  client.on('error', () => client.destroy())
  if (source === null || destination === null) {
    client.destroy()
    return
  }
  const upstream = connect({ path: backend })
  upstream.on('error', () => client.destroy())
  upstream.on('close', () => client.destroy())
  client.on('close', () => upstream.destroy())
  upstream.write(encodeV2({ command: 'proxy', addresses: { family: 'ipv6', transport: 'stream', source, destination } }))
  client.pipe(upstream)
  upstream.pipe(client)
})
server.listen({ host, port, ipv6Only: true, backlog: 4096 }, () => process.stdout.write('ready\n'))
