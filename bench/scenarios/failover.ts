/**
 * A node fails, and nobody has told the program: how long a client waits until another node answers it. Refused is a
 * program that has ended; silent is a host that has, or a broken link.
 */
import { FailingNodes, FAILING_NODES, FAILOVER_CONNECT_MS, served } from '../failing-nodes.ts'
import type { FailingNode } from '../failing-nodes.ts'
import type { Scenario } from '../scenario.ts'

/** Whoever takes turns meets the broken node every other time. */
const CONNECTIONS = 4

const nodes = new FailingNodes()
let areOpen = false

export const failover: Scenario = {
  id: 'failover',
  subject: 'nearcast',
  peers: ['haproxy', 'nginx', 'portable'],
  maxRounds: 8,
  rows: [
    { id: 'refused', name: 'a node refuses: slowest of 4 new connections', unit: 'ms', goal: null, against: ['haproxy'] },
    { id: 'silent', name: `a node is silent (given up after ${FAILOVER_CONNECT_MS} ms): slowest of 4`, unit: 'ms', goal: null, against: ['haproxy'] },
    { id: 'all', name: 'the same: all 4, one after the other', unit: 'ms', goal: null, against: ['haproxy'] },
  ],
  async prepare() {
    if (!areOpen) await nodes.open()
    areOpen = true
  },
  async measure({ peer }) {
    if (peer?.failoverPort === undefined) throw new Error('there is no way to the failing nodes here')
    const refused = await waits(peer.failoverPort, 'refused')
    const silent = await waits(peer.failoverPort, 'silent')
    return { refused: Math.max(...refused), silent: Math.max(...silent), all: silent.reduce((sum, ms) => sum + ms, 0) }
  },
}

/** Breaks the node that has just been taken. */
async function waits(port: number, how: 'refused' | 'silent'): Promise<number[]> {
  const { node } = await served(port)
  if (!isNode(node)) throw new Error(`an unknown node answers: ${node}`)
  nodes.break(node, how)
  try {
    const ms: number[] = []
    for (let index = 0; index < CONNECTIONS; index++) ms.push((await served(port)).ms)
    return ms
  } finally {
    nodes.mend()
  }
}

function isNode(name: string): name is FailingNode {
  return name in FAILING_NODES
}
