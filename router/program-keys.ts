/**
 * Keys that gateway.toml and backbone.toml have alike: who the program is, where the feed comes from, the interface that it
 * makes, its metrics and its log. What differs stands in each one's config.ts.
 */
import { z } from 'zod'
import { ID_PATTERN } from '../lib/identity.ts'
import { LOG_LEVELS } from '../lib/log.ts'
import { DEFAULT_MTU } from '../lib/wireguard/constants.ts'

const name = z.string().regex(ID_PATTERN, 'use up to 40 of a-z, 0-9 and "-"')

export const PROGRAM_KEYS = {
  /** Names this program; its identity is gateway/<id> or backbone/<id>. */
  id: name,
  host: z.string().min(1).max(100),
  region: name,
  /** Identity, WireGuard key and the last good table. */
  stateDir: z.string().min(1),
  /** The router's feed. */
  router: z.url({ protocol: /^https$/, error: 'use https://host:port' }),
  joinTokenFile: z.string().min(1).optional(),
  admin: z.strictObject({ listen: z.string().min(1).optional() }).prefault({}),
  log: z.strictObject({ level: z.enum(LOG_LEVELS).default('info') }).prefault({}),
} as const

/** The interface of the kernel that the program makes; `defaultName` unless it is told otherwise. */
export const tunKeys = (defaultName: string) =>
  z
    .strictObject({
      name: z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/, 'use the name of a network interface').default(defaultName),
      /** Of packets inside; 80 less than that of the way that they take. */
      mtu: z.int().min(1280).max(9000).default(DEFAULT_MTU),
    })
    .prefault({})
