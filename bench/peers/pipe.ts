/** The least that Node can do: a header, then `pipe` both ways (pipe-server.ts). What a proxy costs above this is its own. */
import { Program } from '../program.ts'
import type { Peer } from './peer.ts'

export const pipe: Peer = {
  id: 'pipe',
  label: 'plain Node pipe',
  version: () => process.version,
  missing: () => null,
  configuration: () => 'bench/peers/pipe-server.ts: createServer, connect, one PROXY v2 header, pipe both ways; no isolation, limits, health or counters\n',
  async start({ backendSocket }, port) {
    const place = { BENCH_PIPE: JSON.stringify({ host: '::', port, backend: backendSocket }) }
    const program = await new Program(process.execPath, [new URL('pipe-server.ts', import.meta.url).pathname], place).says('ready')
    return { port, pids: [program.pid], stop: () => program.stop() }
  },
}
