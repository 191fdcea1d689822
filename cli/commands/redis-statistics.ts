/** What `nearcast redis status` says of use; `nearcast redis commands | why-slow`. */
import type { Command } from 'commander'
import { z } from 'zod'
import { colours } from '../colours.ts'
import { bytes, count, facts, milliseconds, table } from '../output.ts'
import type { OrgOptions } from './redis-access.ts'
import { databasePath } from './redis-access.ts'
import type { WithSession } from './session.ts'
import { ORG_OPTION } from './session.ts'

const latency = z.object({ count: z.number(), meanMs: z.number(), p99Ms: z.number() }).nullable()
const heldBack = z.object({ now: z.boolean(), ms: z.number() }).optional()
const latencies = z.object({ read: latency, write: latency }).nullable()
const engineLatency = z.object({ read: latency, write: latency }).optional()
const limits = z.array(z.object({ limit: z.string(), allowed: z.number(), used: z.number().optional(), hits: z.number() }))

export const statisticsObject = z.looseObject({
  nodes: z.array(
    z.looseObject({
      node: z.string(),
      role: z.string(),
      resting: z.boolean(),
      connections: z.number(),
      commands: z.object({ total: z.number(), day: z.number(), month: z.number(), perSecond: z.number() }),
      bytes: z.object({ up: z.number(), down: z.number(), day: z.number(), month: z.number() }),
      hits: z.number(),
      misses: z.number(),
      engine: z.object({ keys: z.number(), memoryBytes: z.number(), evicted: z.number(), expired: z.number() }).nullable(),
      diskBytes: z.number(),
      latency: latencies,
      engineLatency,
      limits,
    }),
  ),
  missing: z.array(z.object({ node: z.string(), code: z.string() })),
})
type Statistics = z.infer<typeof statisticsObject>

const slowObject = z.looseObject({
  node: z.string(),
  ways: z.array(z.object({ proxy: z.string(), node: z.string(), latencyMs: z.number().nullable(), healthy: z.boolean() })),
  latency: latencies,
  engineLatency,
  heldBack,
  limits,
  commands: z.array(z.object({ at: z.string(), ms: z.number(), command: z.string() })),
})

/** A limit used this far is worth a warning. */
const WARN_SHARE = 0.8

/** `maxMemoryBytes`: its data size. */
export function usageLines({ nodes, missing }: Statistics, maxMemoryBytes: number): string[] {
  const lines = nodes.flatMap((node) => {
    const { commands, bytes: carried, engine, hits, misses } = node
    return [
      '',
      colours.dim(`on ${node.node}, ${node.role}${node.resting ? ', resting' : ''}`),
      facts([
        ['connections', String(node.connections)],
        ['commands', `${commands.perSecond.toFixed(1)} a second, ${commands.day} today, ${commands.month} this month, ${commands.total} in all`],
        ['carried', `${bytes(carried.day)} today, ${bytes(carried.month)} this month`],
        ['reads that found their key', hits + misses === 0 ? '-' : `${((100 * hits) / (hits + misses)).toFixed(1)} % of ${hits + misses}`],
        ['keys', engine === null ? '-' : `${engine.keys} (${engine.expired} expired, ${engine.evicted} gone for room)`],
        ['memory, disk', `${engine === null ? '-' : bytes(engine.memoryBytes)}, ${bytes(node.diskBytes)}`],
        ...latencyFacts(node),
      ]),
      ...(engine !== null && engine.memoryBytes >= maxMemoryBytes * WARN_SHARE ? [colours.yellow(`data size: ${bytes(engine.memoryBytes)} of ${bytes(maxMemoryBytes)} used`)] : []),
      ...node.limits.filter(({ used, allowed }) => used !== undefined && used >= allowed * WARN_SHARE).map(({ limit, used, allowed }) => colours.yellow(`${limit}: ${used} of ${allowed} used`)),
      ...node.limits.filter(({ hits: met }) => met > 0).map(({ limit, hits: met }) => colours.yellow(`${limit}: met ${count(met, 'time')}`)),
    ]
  })
  return [...lines, ...missing.map(({ node, code }) => colours.yellow(`${node} does not say how it is used: ${code}`))]
}

/** What clients wait for on the node, where they are read; and the engine's part of it. */
function latencyFacts(measured: { readonly latency: z.infer<typeof latencies>; readonly engineLatency?: z.infer<typeof engineLatency> }): [string, string][] {
  const onNode: [string, string][] = measured.latency === null ? [] : [['latency on the node', latencyText(measured.latency, ' of late')]]
  return [...onNode, ['latency in the engine', measured.engineLatency === undefined ? "it rests, or doesn't say" : latencyText(measured.engineLatency, '')]]
}

function latencyText({ read, write }: NonNullable<z.infer<typeof latencies>>, when: string): string {
  return `${latencyOf('reads', read, when)}; ${latencyOf('writes', write, when)}`
}

function latencyOf(kind: string, measured: z.infer<typeof latency>, when: string): string {
  return measured === null ? `no ${kind}${when}` : `${kind} ${briefly(measured.meanMs)} on average, 99 % within ${briefly(measured.p99Ms)}`
}

function heldBackLines(held: z.infer<typeof heldBack>): string[] {
  if (held === undefined || held.ms === 0) return []
  return [colours.yellow(`held back: for ${milliseconds(held.ms)} in all${held.now ? ', now too' : ''}; its engine kept a processor busy, so its neighbours went first.`)]
}

/** An engine takes microseconds. */
function briefly(ms: number): string {
  return ms < 1 ? `${Number((ms * 1000).toPrecision(2))} µs` : milliseconds(ms)
}

const commandsObject = z.looseObject({ server: z.string(), commands: z.array(z.object({ name: z.string(), kind: z.string() })) })

export function addRedisReportCommands(redis: Command, withSession: WithSession): void {
  redis
    .command('commands <name>')
    .description('the commands that the engine of a database knows; those denied to all are among them')
    .option(...ORG_OPTION)
    .action((name: string, options: OrgOptions, command: Command) =>
      withSession(command, async (session) => {
        const known = await session.api.get(`${await databasePath(session, name, options)}/commands`, commandsObject)
        const ofKind = (kind: string): string => known.commands.filter((each) => each.kind === kind).map((each) => each.name).join(' ')
        session.output.show(known, () => facts([['server', known.server], ['read', ofKind('read')], ['write', ofKind('write')], ['others', ofKind('other')]]))
      }),
    )

  redis
    .command('why-slow <name>')
    .description('where the time of a database goes: the way to it, its slowest commands, limits that were met')
    .option(...ORG_OPTION)
    .action((name: string, options: OrgOptions, command: Command) =>
      withSession(command, async (session) => {
        const slow = await session.api.get(`${await databasePath(session, name, options)}/slow`, slowObject)
        session.output.show(slow, () => [
          table(['proxy', 'takes node', 'at a distance of'], slow.ways.map(({ proxy, node, latencyMs, healthy }) => [proxy, `${node}${healthy ? '' : ' (unhealthy)'}`, latencyMs === null ? '-' : milliseconds(latencyMs)])),
          facts(latencyFacts(slow)),
          ...heldBackLines(slow.heldBack),
          ...(slow.limits.length === 0 ? ['No limit was met.'] : slow.limits.map(({ limit, allowed, hits }) => colours.yellow(`${limit} ${allowed}: met ${count(hits, 'time')}; those commands or connections were refused or had to wait.`))),
          ...(slow.commands.length === 0 ? ['Its slow log is empty: no command took 10 ms.'] : [table(['when', 'took', 'command'], slow.commands.map(({ at, ms, command: said }) => [at, milliseconds(ms), said]))]),
        ])
      }),
    )
}
