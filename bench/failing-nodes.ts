/**
 * Two data nodes that read PROXY headers themselves, for what happens when one fails: each says its name when something
 * arrives. A node that is gone refuses or says nothing at all; which of them, the packet filter decides.
 */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { Server } from 'node:net'

/** Underlay addresses, local in the bench's own network namespace. */
export const FAILING_NODES = { one: 'fd0b:1::1', other: 'fd0b:2::1' } as const
export type FailingNode = keyof typeof FAILING_NODES
export const FAILING_PORT = 7090
/** What leads to them, at the port behind a program's own. */
export const FAILOVER_ADDRESS = 'fdaa:0:1:0:1::5'
/** How long a program may try one of them. The same for all. */
export const FAILOVER_CONNECT_MS = 1000

const TIMEOUT_MS = 15_000
const TABLE = 'inet bench'
/** Answered by a reset, or by nobody. */
const VERDICTS = { refused: 'reject with tcp reset', silent: 'drop' } as const

export class FailingNodes {
  readonly #servers: Server[] = []

  async open(): Promise<void> {
    for (const [name, host] of Object.entries(FAILING_NODES)) {
      execFileSync('ip', ['-6', 'address', 'add', `${host}/128`, 'dev', 'lo', 'nodad'])
      const server = createServer((socket) => {
        socket.on('error', () => socket.destroy())
        socket.once('data', () => socket.end(`${name}\n`))
      })
      this.#servers.push(server)
      await once(server.listen({ host, port: FAILING_PORT, backlog: 512 }), 'listening')
    }
    execFileSync('nft', [`add table ${TABLE}; add chain ${TABLE} output { type filter hook output priority 0; }`])
  }

  break(node: FailingNode, how: keyof typeof VERDICTS): void {
    execFileSync('nft', [`add rule ${TABLE} output ip6 daddr ${FAILING_NODES[node]} tcp dport ${FAILING_PORT} ${VERDICTS[how]}`])
  }

  mend(): void {
    execFileSync('nft', [`flush chain ${TABLE} output`])
  }

  close(): void {
    for (const server of this.#servers) server.close()
  }
}

export interface Served {
  readonly node: string
  /** From the connect to the first byte. */
  readonly ms: number
}

/** One connection through a program. @throws Error when nobody answers it */
export async function served(port: number): Promise<Served> {
  const startedMs = performance.now()
  const socket = connect({ host: FAILOVER_ADDRESS, port })
  socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error(`no node has answered within ${TIMEOUT_MS} ms`)))
  socket.write('hello\n')
  try {
    const [first] = (await Promise.race([once(socket, 'data'), once(socket, 'end').then(() => ['']) ])) as [Buffer | string]
    if (first.length === 0) throw new Error('no node has answered')
    return { node: first.toString().trim(), ms: performance.now() - startedMs }
  } catch (error) {
    throw new Error(`a connection through port ${port} failed after ${Math.round(performance.now() - startedMs)} ms`, { cause: error })
  } finally {
    socket.destroy()
  }
}
