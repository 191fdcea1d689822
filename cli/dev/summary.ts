/** What `nearcast dev` shows when the cluster stands: for programs one object, for people tables and what to try. Pure. */
import { colours } from '../colours.ts'
import { facts, table } from '../output.ts'
import type { Cluster } from './cluster.ts'
import { DEFAULT_CLUSTER } from './default-cluster.ts'
import { FORWARD_HOST } from './supervisor.ts'
import type { Region } from './topology.ts'

/** `command`: how this shell calls nearcast. */
export interface Summary {
  readonly value: object
  readonly lines: readonly string[]
}

export function summarize(cluster: Cluster, name: string, command: string): Summary {
  const { topology, databases } = cluster
  const [demo] = databases
  const forward = demo === undefined ? null : { host: FORWARD_HOST, port: cluster.forwardPort }
  const redisCli = demo === undefined ? '' : `redis-cli -h ${FORWARD_HOST} -p ${cluster.forwardPort} --user ${demo.username} --pass ${demo.password} --no-auth-warning`
  const value = {
    cluster: name,
    api: cluster.apiUrl,
    token: cluster.token,
    regions: topology.regions.map(({ id, hosts }) => ({ id, hosts: hosts.map((host) => host.id) })),
    links: cluster.links.status,
    emulation: cluster.links.kind,
    appHosts: cluster.appAddresses,
    databases: databases.map((database, index) => ({ ...database, org: topology.databases[index]?.org ?? database.org })),
    forward: forward && { ...forward, command: redisCli },
  }
  const lines = [
    facts([['API', cluster.apiUrl], ['token', cluster.token], ...(name === DEFAULT_CLUSTER ? [] : [['cluster', name] as const])]),
    '',
    table(['region', 'hosts', 'round trip to'], topology.regions.map((region) => [region.id, region.hosts.map(({ id }) => id).join(', '), distances(cluster, region)])),
    '',
    table(['database', 'primary', 'replicas', 'address', 'url'], databases.map((each, index) => [`${topology.databases[index]?.org}/${each.name}`, each.region, each.replicas.join(', '), each.address, each.url])),
    '',
    ...(demo === undefined ? [] : [colours.bold('From this shell'), `  ${redisCli}`, '']),
    colours.bold('Try next'),
    ...(name === DEFAULT_CLUSTER ? [] : [`  export NEARCAST_CLUSTER=${name}`]),
    ...suggestions(cluster, command).map((line) => `  ${line}`),
    '',
    colours.dim('Ctrl-C ends the cluster; nothing stays.'),
  ]
  return { value, lines }
}

function distances({ links }: Cluster, { id }: Region): string {
  const mine = links.status.map((link) => ({ ends: link.id.split('-'), rttMs: link.rttMs })).filter(({ ends }) => ends.includes(id))
  return mine.map(({ ends, rttMs }) => `${ends.find((end) => end !== id)} ${rttMs} ms`).join(', ')
}

function suggestions({ topology, noTun }: Cluster, command: string): string[] {
  const [org] = topology.orgs
  const [first, ...others] = topology.regions.map(({ id }) => id)
  const last = others.at(-1) ?? first
  const gateways = topology.gateways.length > 0 && noTun === null
  const demo = topology.databases.find((database) => database.org === org)
  if (org === undefined) return [`${command} orgs create --name acme`]
  const replicas = others.length === 0 ? '' : ` --replicas ${others.join(',')}`
  return [
    `${command} redis create --org ${org} --name cache --region ${first}${replicas}`,
    ...(demo === undefined ? [] : [`${command} explain --from ${org}/${last} --to ${demo.name}.flycast`]),
    `${command} dev exec --org ${org} --region ${last} -- bash`,
    ...(gateways ? [`${command} wireguard create laptop --org ${org}`] : []),
  ]
}
