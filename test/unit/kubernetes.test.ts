/** The Kubernetes manifests against Kubernetes' own schemas, and against our programs: commands, ports, configurations. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DaemonSet } from 'kubernetes-models/apps/v1/DaemonSet'
import { StatefulSet } from 'kubernetes-models/apps/v1/StatefulSet'
import { ConfigMap } from 'kubernetes-models/v1/ConfigMap'
import { Namespace } from 'kubernetes-models/v1/Namespace'
import { Service } from 'kubernetes-models/v1/Service'
import { expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { z } from 'zod'
import { agentConfig } from '../../agent/config.ts'
import { loadConfig } from '../../lib/config.ts'
import { proxyConfig } from '../../proxy/config.ts'
import { routerConfig } from '../../router/config.ts'
import { backboneConfig } from '../../router/backbone/config.ts'
import { gatewayConfig } from '../../router/gateway/config.ts'

const DIRECTORY = join(import.meta.dirname, '../../packaging/kubernetes')
const SCHEMAS = { router: routerConfig, proxy: proxyConfig, agent: agentConfig, gateway: gatewayConfig, backbone: backboneConfig } as const

const manifest = z.looseObject({ apiVersion: z.string(), kind: z.string(), metadata: z.looseObject({ name: z.string(), namespace: z.string().optional() }) })
const container = z.looseObject({
  command: z.array(z.string()),
  env: z.array(z.looseObject({ name: z.string() })).default([]),
  ports: z.array(z.looseObject({ name: z.string(), containerPort: z.int() })),
  securityContext: z.looseObject({ readOnlyRootFilesystem: z.literal(true), capabilities: z.looseObject({ drop: z.tuple([z.literal('ALL')]), add: z.array(z.string()).default([]) }) }),
  volumeMounts: z.array(z.looseObject({ name: z.string() })),
})
const workload = z.looseObject({
  spec: z.looseObject({
    selector: z.looseObject({ matchLabels: z.record(z.string(), z.string()) }),
    template: z.looseObject({
      metadata: z.looseObject({ labels: z.record(z.string(), z.string()), annotations: z.record(z.string(), z.string()) }),
      spec: z.looseObject({ containers: z.array(container).length(1), volumes: z.array(z.looseObject({ name: z.string() })) }),
    }),
    volumeClaimTemplates: z.array(z.looseObject({ metadata: z.looseObject({ name: z.string() }) })).default([]),
  }),
})

function documents(file: string): z.infer<typeof manifest>[] {
  return parseAllDocuments(readFileSync(join(DIRECTORY, file), 'utf8')).map((document) => {
    expect(document.errors).toEqual([])
    return manifest.parse(document.toJS())
  })
}

/** Made from Kubernetes' own OpenAPI; `validate` throws what is wrong. */
const MODELS: Readonly<Record<string, new (value: never) => { validate(): void }>> = {
  'apps/v1 DaemonSet': DaemonSet,
  'apps/v1 StatefulSet': StatefulSet,
  'v1 ConfigMap': ConfigMap,
  'v1 Namespace': Namespace,
  'v1 Service': Service,
}

function judge(document: z.infer<typeof manifest>): void {
  const Model = MODELS[`${document.apiVersion} ${document.kind}`]
  if (Model === undefined) throw new Error(`There is no ${document.apiVersion} ${document.kind} here`)
  new Model(document as never).validate()
}

const files = readdirSync(DIRECTORY).filter((file) => file.endsWith('.yaml'))

test('the judge sees faults', () => {
  const [first] = documents('router.yaml').filter(({ kind }) => kind === 'StatefulSet')
  if (first === undefined) throw new Error('no StatefulSet')
  expect(() => judge({ ...first, spec: { replicas: 'one' } })).toThrow()
})

test.each(files)('%s: valid for Kubernetes', (file) => {
  for (const document of documents(file)) {
    expect(() => judge(document)).not.toThrow()
    if (document.kind !== 'Namespace') expect(document.metadata.namespace).toBe('nearcast')
  }
})

test.each(['router', 'proxy', 'agent', 'gateway', 'backbone'] as const)('%s.yaml: runs our program with a configuration that it accepts', (program) => {
  const all = documents(`${program}.yaml`)
  const { spec } = workload.parse(all.find(({ kind }) => kind === 'StatefulSet' || kind === 'DaemonSet'))
  const { metadata, spec: pod } = spec.template
  const [run] = pod.containers
  expect(run?.command).toEqual(['nearcast', 'run', program, '--config', `/etc/nearcast/${program}.toml`])
  expect(metadata.labels).toMatchObject(spec.selector.matchLabels)
  const volumes = [...pod.volumes.map(({ name }) => name), ...spec.volumeClaimTemplates.map((claim) => claim.metadata.name)]
  for (const { name } of run?.volumeMounts ?? []) expect(volumes).toContain(name)

  const toml = z.looseObject({ data: z.record(z.string(), z.string()) }).parse(all.find(({ kind }) => kind === 'ConfigMap')).data[`${program}.toml`] ?? ''
  const directory = mkdtempSync(join(tmpdir(), 'nearcast-kubernetes-'))
  try {
    const path = join(directory, `${program}.toml`)
    writeFileSync(path, toml)
    // As the pod's environment would be, for a node named mad-1.
    const env = Object.fromEntries((run?.env ?? []).filter(({ name }) => name.startsWith('NEARCAST_')).map(({ name, value }) => [name, typeof value === 'string' ? value.replaceAll('$(POD_IP)', 'fd00::21') : 'mad-1']))
    const config = loadConfig(SCHEMAS[program], { program: program.toUpperCase(), file: path, env })
    const admin = /:(\d+)$/.exec(config.admin.listen ?? '')?.[1]
    expect(metadata.annotations['prometheus.io/port']).toBe(admin)
    expect(run?.ports.find(({ name }) => name === 'admin')?.containerPort).toBe(Number(admin))
    if ('hop' in config) expect(config.hop.advertise).toBe('[fd00::21]:7400')
    if ('interface' in config) expect(config.advertise).toBe('[fd00::21]:51821')
    if ('tun' in config) expect(config.advertise).toBe('[fd00::21]:51820')
  } finally {
    rmSync(directory, { recursive: true })
  }
})

test('an agent has the same capabilities in a container and under systemd: each of them is needed for its databases', () => {
  const agent = documents('agent.yaml').find(({ kind }) => kind === 'StatefulSet')
  const added = workload.parse(agent).spec.template.spec.containers[0]?.securityContext.capabilities.add ?? []
  const unit = readFileSync(join(DIRECTORY, '../systemd/nearcast-agent.service'), 'utf8')
  const bounded = /^CapabilityBoundingSet=(.*)$/m.exec(unit)?.[1]?.split(' ') ?? []
  expect(added.map((name) => `CAP_${name}`).toSorted()).toEqual(bounded.toSorted())
})
