/** What a tenant notices of another one on its node: calm requests alone, beside KEYS on a million keys, beside an endless script. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { setPatience } from '../../lib/kernel/scheduling.ts'
import { percentile } from '../../lib/distribution.ts'
import { load } from '../benchmark-client.ts'
import { PacedClient } from '../paced-client.ts'
import type { RunningPeer } from '../peers/peer.ts'
import type { Scenario } from '../scenario.ts'
import { ADDRESS, NEIGHBOUR_ADDRESS } from '../world.ts'

const CONNECTIONS = 20
const PER_SECOND = 500
const KEYS = 1_000_000
/** Each within the time that the plan gives a script. */
const FILLS = 100
/** Of three stretches each, in turn: what the machine does meanwhile hits all alike. */
const STRETCHES = 3
const NOISE = new URL('../noise.ts', import.meta.url).pathname
const FILL = `local from = redis.call('dbsize') for i = 1, ${KEYS / FILLS} do redis.call('set', 'key:' .. (from + i), 'v') end return 1`
const GOAL = 1.5
const POLL_MS = 50

let filled = false

export const neighbours: Scenario = {
  id: 'neighbours',
  subject: 'agent-crowded',
  peers: [],
  maxRounds: 10,
  rows: [
    { id: 'alone', name: 'p99 of calm requests, the neighbour silent', unit: 'us', goal: null },
    { id: 'keys', name: `p99 beside KEYS on ${KEYS.toLocaleString('en')} keys`, unit: 'x alone', goal: { atMost: 1, against: GOAL } },
    { id: 'script', name: 'p99 beside an endless script', unit: 'x alone', goal: { atMost: 1, against: GOAL } },
  ],
  async measure({ peer, quick }) {
    if (!peer) throw new Error('there is no baseline here')
    if (!filled) await load({ ...peer, host: NEIGHBOUR_ADDRESS }, { connections: 1, requests: FILLS, command: ['EVAL', FILL, '0'] })
    filled = true
    const latenciesMs: Record<'alone' | 'keys' | 'script', number[]> = { alone: [], keys: [], script: [] }
    for (let stretch = 0; stretch < STRETCHES; stretch++) {
      latenciesMs.alone.push(...(await calm(peer, quick)))
      latenciesMs.keys.push(...(await beside(peer, 'KEYS *', quick)))
      latenciesMs.script.push(...(await beside(peer, 'EVAL "while true do end" 0', quick)))
    }
    return { alone: p99(latenciesMs.alone) * 1000, keys: p99(latenciesMs.keys) / p99(latenciesMs.alone), script: p99(latenciesMs.script) / p99(latenciesMs.alone) }
  },
}

function p99(values: readonly number[]): number {
  return percentile(values, 0.99)
}

async function calm({ port, password = '' }: RunningPeer, quick: boolean): Promise<readonly number[]> {
  const client = await PacedClient.open({ host: ADDRESS, port, password, connections: CONNECTIONS, perSecond: PER_SECOND, durationMs: quick ? 500 : 2000 })
  try {
    return await client.run()
  } finally {
    client.close()
  }
}

async function beside(peer: RunningPeer, line: string, quick: boolean): Promise<readonly number[]> {
  const noise = spawn(process.execPath, [NOISE, NEIGHBOUR_ADDRESS, String(peer.port), line], { env: { ...process.env, PASSWORD: peer.password }, stdio: ['ignore', 'pipe', 'inherit'] })
  // It would be on a machine of its own: here, too, it is in nobody's way.
  setPatience(noise.pid ?? 0, true)
  const ended = once(noise, 'exit')
  try {
    // It is at it from its first answer on.
    const [first] = (await Promise.race([once(noise.stdout, 'data'), ended.then(() => [null])])) as [Buffer | null]
    if (first === null) throw new Error(`the neighbour's ${line} was not answered`)
    return await calm(peer, quick)
  } finally {
    noise.kill('SIGKILL')
    await ended
    while (!(await isIdle(peer))) await delay(POLL_MS)
  }
}

/** What it was last asked is over, too. */
async function isIdle({ port, password = '' }: RunningPeer): Promise<boolean> {
  const socket = connect({ host: NEIGHBOUR_ADDRESS, port }).setEncoding('latin1')
  try {
    socket.write(`AUTH ${password}\r\nPING\r\n`)
    let said = ''
    while (!/^\+OK\r\n.*\r\n$/s.test(said)) said += String((await once(socket, 'data'))[0])
    return said.endsWith('+PONG\r\n')
  } finally {
    socket.destroy()
  }
}
