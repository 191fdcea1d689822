/** A report for a terminal. Pure. */
import { colours } from '../colours.ts'
import { table } from '../output.ts'
import type { Cell } from '../output.ts'
import type { LatencyReport, Measured, Way } from './report.ts'
import { MEASURES, TITLES } from './report.ts'

export function latencyLines({ proxies, missing, ways }: LatencyReport): string[] {
  const fleet = proxies.flatMap(({ proxy, region, nodes }) =>
    nodes.map(({ node, region: theirs, healthy, connect, rtt }): Cell[] => [`${proxy} (${region})`, `${node} (${theirs})`, ...three(connect), ...three(rtt), healthy ? '' : colours.yellow('unhealthy')]),
  )
  const heads = ['p50', 'p90', 'p99']
  return [
    colours.bold('From every proxy to every node (ms)'),
    table(['proxy', 'node', ...heads.map((head) => `connect ${head}`), ...heads.map((head) => `rtt ${head}`), ''], fleet),
    ...missing.map(({ identity, reason }) => colours.yellow(`${identity}: ${reason}`)),
    ...(ways.length === 0 ? [] : ['', colours.bold('To databases (ms): p50 / p90 / p99'), table(['database', 'way', ...MEASURES.map((each) => TITLES[each]), ''], ways.map(wayCells))]),
  ]
}

export function shortMs(value: number): string {
  return value < 10 ? value.toFixed(2) : value.toFixed(1)
}

function three(measured: Measured | null): Cell[] {
  return measured === null ? [null, null, null] : [shortMs(measured.p50), shortMs(measured.p90), shortMs(measured.p99)]
}

function wayCells(way: Way): Cell[] {
  const { org, database, kind, region, errors } = way
  const where = kind === 'direct' ? `beside its engine in ${region}` : `Nearcast, from ${region}`
  const cells = MEASURES.map((each) => {
    const found = way[each]
    return found === null ? null : `${shortMs(found.p50)} / ${shortMs(found.p90)} / ${shortMs(found.p99)}`
  })
  return [`${org}/${database}`, where, ...cells, [...new Set(errors)].map((error) => colours.dim(error.split(' ').slice(0, 8).join(' '))).join('; ')]
}
