/** Who gets how many databases, and where: the topology of the scale demo. Pure. */

export const REGIONS = ['mad', 'ams', 'gru'] as const
/** The default quota of an organization. */
const DATABASES_PER_ORG = 200
/** What a topology can hold. */
const MAX_ORGS = 16
export const MAX_DATABASES = DATABASES_PER_ORG * MAX_ORGS

export interface PlannedDatabase {
  readonly org: string
  readonly name: string
  readonly region: string
}

export function organizations(databases: number): string[] {
  const count = Math.max(1, Math.ceil(databases / DATABASES_PER_ORG))
  return Array.from({ length: count }, (_, index) => `org-${index + 1}`)
}

/** Spread evenly over organizations and regions, each organization in every region. */
export function planDatabases(count: number): PlannedDatabase[] {
  const orgs = organizations(count)
  return Array.from({ length: count }, (_, index) => ({
    org: orgs[index % orgs.length] ?? '',
    name: `db-${index + 1}`,
    region: REGIONS[Math.floor(index / orgs.length) % REGIONS.length] ?? 'mad',
  }))
}

/** Everybody's app host in mad is beside mad-2, whose nearest agent is on another host. */
export function topologyText(databases: number, idleStopMinutes: number): string {
  const orgs = organizations(databases).map((name) => `[[org]]\nname = "${name}"\nbeside = "last"\n`)
  return `router = "mad-1"
idleStopMinutes = ${idleStopMinutes}

[[region]]
id = "mad"
hosts = ["mad-1", "mad-2"]

[[region]]
id = "ams"
hosts = ["ams-1"]

[[region]]
id = "gru"
hosts = ["gru-1"]

[[link]]
between = ["mad", "ams"]
rttMs = 30

[[link]]
between = ["mad", "gru"]
rttMs = 190

[[link]]
between = ["ams", "gru"]
rttMs = 210

${orgs.join('\n')}`
}
