/** The two sides: a bare engine, and databases of a data node behind its hop, one that is passed on and one that is read. */
import { startBareRedis } from '../support/bare-redis.ts'
import { addressChange, databaseRow, DataNode, dialerChange } from '../support/data-node.ts'
import { startHopRelay } from '../support/hop-relay.ts'
import { PASSWORD } from './run.ts'

export const WAYS = ['passing', 'reading'] as const
export type Way = (typeof WAYS)[number]

export interface Sides {
  /** Its socket. */
  readonly bare: string
  readonly ours: Readonly<Record<Way, { readonly port: number }>>
  /** Another tenant's database on the same node, under the same password. */
  readonly other: { readonly port: number }
  close(): Promise<void>
}

/** A machine that is busy elsewhere makes no database unavailable. */
const PATIENT = { healthIntervalMs: 10_000, readyTimeoutMs: 10_000 }
/**
 * An engine looks more often who has waited long enough; and sorted sets stay lists: what a skip list finds by its members where
 * scores differ depends on its dice.
 */
const SETTINGS = ['hz', '100', 'zset-max-listpack-value', '1000'] as const
const HERE = [{ node: 'mad', role: 'primary' as const }]

export async function startSides(): Promise<Sides> {
  const bare = await startBareRedis('--requirepass', PASSWORD, '--enable-debug-command', 'no', ...SETTINGS.map((word, index) => (index % 2 === 0 ? `--${word}` : word)))
  const node = await new DataNode({ id: 'mad', redis: PATIENT }).listen()
  const services = ['passing', 'reading', 'other'] as const
  const addressOf = (service: (typeof services)[number]): string => `fdaa:0:1:0:1::${services.indexOf(service) + 2}`
  await node.feed(
    dialerChange('proxy/mad-1'),
    ...services.flatMap((service) => [
      addressChange(addressOf(service), service),
      // A limit that nobody meets: what is said is read all the same.
      databaseRow(service, HERE, PASSWORD, service === 'reading' ? { limits: { commandsPerSecond: 10_000_000 } } : {}),
    ]),
  )
  for (const service of services) {
    await node.available(service)
    await node.agent.tenants.supervisors.get(service)?.ask([['CONFIG', 'SET', ...SETTINGS]], 5000)
  }
  const [passing, reading, other] = await Promise.all(services.map((service) => startHopRelay(node.socket, 'mad', service, addressOf(service))))
  if (passing === undefined || reading === undefined || other === undefined) throw new Error('there are three relays')
  return {
    bare: bare.socket,
    ours: { passing, reading },
    other,
    async close() {
      await Promise.all([passing.close(), reading.close(), other.close()])
      await Promise.all([node.close(), bare.close()])
    },
  }
}
