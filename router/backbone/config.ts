/**
 * What a backbone can be told: every key of backbone.toml, with its default. Defaults are applied here and nowhere else.
 * nearcast.example.toml is the manual.
 */
import { z } from 'zod'
import { BACKBONE_IMPLEMENTATIONS } from '../../lib/feed/questions.ts'
import { BACKBONE_ENDPOINT } from '../../lib/identity.ts'
import { parseListen } from '../../lib/listen.ts'
import { WANTED_PATHS } from '../../lib/wireguard/wanted-path.ts'
import { PROGRAM_KEYS, tunKeys } from '../program-keys.ts'

const listen = z.string().superRefine((text, context) => {
  try {
    if (parseListen(text).kind !== 'tcp') context.addIssue('write host:port')
  } catch (error) {
    context.addIssue(error instanceof Error ? error.message : String(error))
  }
})

export const backboneConfig = z.strictObject({
  ...PROGRAM_KEYS,
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
  interface: tunKeys('nearcast-bb'),
})

export type BackboneConfig = z.infer<typeof backboneConfig>

/** RFC 5952 or not, as configured. */
export function ownAddresses({ addresses, advertise }: BackboneConfig): readonly string[] {
  return addresses ?? [BACKBONE_ENDPOINT.exec(advertise)?.[1] ?? '']
}
