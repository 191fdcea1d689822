/**
 * What a backbone can be told: every key of backbone.toml, with its default. Defaults are applied here and nowhere else.
 * nearcast.example.toml is the manual.
 */
import { z } from 'zod'
import { BACKBONE_IMPLEMENTATIONS } from '../../lib/feed/questions.ts'
import { BACKBONE_ENDPOINT, ID_PATTERN } from '../../lib/identity.ts'
import { parseListen } from '../../lib/listen.ts'
import { LOG_LEVELS } from '../../lib/log.ts'
import { DEFAULT_MTU } from '../../lib/wireguard/constants.ts'
import { WANTED_PATHS } from '../../lib/wireguard/wanted-path.ts'

const listen = z.string().superRefine((text, context) => {
  try {
    if (parseListen(text).kind !== 'tcp') context.addIssue('write host:port')
  } catch (error) {
    context.addIssue(error instanceof Error ? error.message : String(error))
  }
})

export const backboneConfig = z.strictObject({
  /** Names this host on the backbone; its identity is backbone/<id>. */
  id: z.string().regex(ID_PATTERN, 'use up to 40 of a-z, 0-9 and "-"'),
  host: z.string().min(1).max(100),
  region: z.string().regex(ID_PATTERN, 'use up to 40 of a-z, 0-9 and "-"'),
  /** Identity, WireGuard key and the last good table. */
  stateDir: z.string().min(1),
  /** The router's feed. */
  router: z.url({ protocol: /^https$/, error: 'use https://host:port' }),
  joinTokenFile: z.string().min(1).optional(),
  /** Where the other hosts find this one, by UDP; told to the router when it joins. */
  advertise: z.string().max(64).regex(BACKBONE_ENDPOINT, 'write [IPv6 address]:port'),
  /** The host's addresses that others dial (hop, feed), IPv6; told likewise. Default: the one of `advertise`. */
  addresses: z.array(z.ipv6()).min(1).max(16).optional(),
  /** Nothing leaves this host for another one of the backbone but through it, also while it can't be reached so. */
  required: z.boolean().default(false),
  wireguard: z
    .strictObject({
      /** UDP. */
      listen: listen.default('[::]:51821'),
      /** Whose WireGuard: `auto` takes the kernel's where it and wireguard-tools are there. */
      implementation: z.enum(['auto', ...BACKBONE_IMPLEMENTATIONS]).default('auto'),
      /** Of ours: how packets come and go; lib/wireguard/path.ts has the answer. */
      path: z.enum(WANTED_PATHS).default('auto'),
      /** Both ways, when nothing else is said. */
      keepaliveSeconds: z.int().min(1).max(60).default(5),
      /** A host that says nothing for so long isn't reached through the backbone any more. */
      silenceSeconds: z.int().min(2).max(600).default(15),
    })
    .prefault({})
    .refine(({ keepaliveSeconds, silenceSeconds }) => silenceSeconds > keepaliveSeconds, 'silenceSeconds is more than keepaliveSeconds'),
  interface: z
    .strictObject({
      name: z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/, 'use the name of a network interface').default('nearcast-bb'),
      /** Of packets inside; 80 less than that of the way between hosts. */
      mtu: z.int().min(1280).max(9000).default(DEFAULT_MTU),
    })
    .prefault({}),
  admin: z.strictObject({ listen: z.string().min(1).optional() }).prefault({}),
  log: z.strictObject({ level: z.enum(LOG_LEVELS).default('info') }).prefault({}),
})

export type BackboneConfig = z.infer<typeof backboneConfig>

/** RFC 5952 or not, as configured. */
export function ownAddresses({ addresses, advertise }: BackboneConfig): readonly string[] {
  return addresses ?? [BACKBONE_ENDPOINT.exec(advertise)?.[1] ?? '']
}
