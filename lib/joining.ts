/**
 * How a program gets the identity that it runs under: the one on its disk, else a new one for its join token, waiting
 * for a router that isn't there yet. lib/identity.ts does the joining itself.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { NearcastError, asNearcastError } from './errors.ts'
import type { BackbonePlace, GatewayPlace, Identity, JoiningKind } from './identity.ts'
import { join, loadIdentity } from './identity.ts'
import type { Lifecycle } from './lifecycle.ts'
import type { Logger } from './log.ts'

const RETRY_MS = 500

export interface Joining {
  readonly kind: JoiningKind
  readonly id: string
  readonly stateDir: string
  /** `https://[addr]:port` */
  readonly router: string
  /** NEARCAST_JOIN_TOKEN comes first. */
  readonly joinTokenFile?: string | undefined
  /** Where an agent, gateway or backbone is reached; asked only when it joins. @throws NearcastError config.invalid */
  readonly reachedAt?: () => { readonly endpoint: string; readonly socket?: string } | { readonly gateway: GatewayPlace } | { readonly backbone: BackbonePlace }
  readonly log: Logger
  readonly lifecycle: Lifecycle
}

/** @throws NearcastError identity.mismatch, identity.invalid, join.* */
export async function obtainIdentity({ kind, id, stateDir, router, joinTokenFile, reachedAt, log, lifecycle }: Joining): Promise<Identity> {
  const known = loadIdentity(stateDir)
  if (known) {
    if (known.identity === `${kind}/${id}`) return known
    throw new NearcastError('identity.mismatch', `${stateDir} holds the identity of ${known.identity}; this is ${kind}/${id}.`)
  }
  const token = process.env['NEARCAST_JOIN_TOKEN'] ?? (joinTokenFile === undefined ? undefined : readToken(joinTokenFile))
  if (token === undefined) {
    throw new NearcastError('join.token-missing', `This ${kind} has no identity yet: give it a join token in joinTokenFile or NEARCAST_JOIN_TOKEN.`)
  }
  const place = reachedAt?.() ?? {}
  for (;;) {
    try {
      return await join({ routerUrl: router, token, stateDir, kind, id, ...place })
    } catch (error) {
      const failure = asNearcastError(error)
      if (!failure.retryable || lifecycle.state !== 'starting') throw failure
      log.warn({ code: failure.code }, failure.message)
      await delay(RETRY_MS)
    }
  }
}

function readToken(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (cause) {
    throw new NearcastError('join.token-missing', `Can't read the join token in ${file}; make a new one with the API.`, { cause })
  }
}
