/** The step of the story about the lines between regions: whoever listens there sees sealed packets and nothing else. */
import { randomBytes } from 'node:crypto'
import type { Step } from './step.ts'
import { check, said, Skipped, until } from './step.ts'

interface Host {
  readonly id: string
  readonly reaches?: readonly string[]
}

interface Way {
  readonly from: string
  readonly to: string
  readonly kinds: Readonly<Record<string, { readonly packets: number; readonly bytes: number }>>
  readonly marked: number
}

/** Longer than it takes to begin looking, and to look. */
const WRITING_SECONDS = 6
const LOOKING_SECONDS = 2

export const BACKBONE_STEP: Step = {
  name: 'backbone',
  beside: true,
  title: 'Between regions passes nothing but WireGuard: what Madrid writes and São Paulo reads is nowhere in it',
  async run({ cluster, show, memory }) {
    let hosts: readonly Host[] = []
    const listed = async (): Promise<boolean> => {
      hosts = await cluster.ask<readonly Host[]>('/v1/backbone')
      return hosts.every(({ reaches }) => reaches?.length === hosts.length - 1)
    }
    await listed()
    if (hosts.length === 0) throw new Skipped('there is no backbone: this user may not make TUN interfaces here')
    await until('every host reaches every other one through the backbone', listed)
    const mark = `secret-${randomBytes(8).toString('hex')}`
    const write = `end=$(($(date +%s) + ${WRITING_SECONDS})); while [ $(date +%s) -lt $end ]; do redis-cli --no-auth-warning -u "$URL" set overheard "$MARK"; sleep 0.1; done`
    const writing = cluster.onAppHost('acme', 'mad', write, { URL: memory.url, MARK: mark })
    const read = async (): Promise<string> => (await cluster.onAppHost('acme', 'gru', 'redis-cli --no-auth-warning -u "$URL" get overheard', { URL: memory.url })).stdout.trim()
    await until('the replica has what is written', async () => (await read()) === mark)
    const words = ['dev', 'capture', '--seconds', String(LOOKING_SECONDS), '--find', mark]
    const ways = await cluster.json<readonly Way[]>(words)
    show(`$ nearcast ${words.join(' ')}`)
    for (const { from, to, kinds } of ways) show(`${from} to ${to}: ${Object.entries(kinds).map(([kind, { packets, bytes }]) => `${kind} ${packets} packets, ${bytes} bytes`).join('; ')}`)
    const written = (await writing).stdout.split('\n').filter((line) => line === 'OK').length
    const marked = ways.reduce((sum, way) => sum + way.marked, 0)
    show(`"${mark}" was written ${written} times meanwhile, and is in ${marked} packets`)
    check(written > 0, `Nothing was written: ${said(await writing)}`)
    check(marked === 0, 'What was written passed in the clear.')
    check(ways.every(({ kinds }) => Object.keys(kinds).join() === 'backbone'), 'Something else than the backbone passed between the regions.')
  },
}
