/**
 * What happens to live connections of a service when new ones no longer go where they go. One policy per service (the
 * member `live` of its row), the same for every cause that leaves a choice:
 *
 *   cause                                           no policy   keep   drain:<s>      cut
 *   its address was revoked, or the address' grant   cut         stay   cut after s    cut
 *   its node drains, or is unhealthy (to a proxy)    stay        stay   cut after s    cut
 *
 * Always cut at once: the service was removed or moved away from the node, or the identity of the node or of the proxy
 * was revoked. A cause that ends in time (the node is well again) ends the countdown. Pure.
 */
export const LIVE_POLICY = /^(keep|cut|drain:([1-9]\d{0,4}))$/

export type LiveCause = 'revoked' | 'node'

/** Milliseconds until a live connection is cut; Infinity: it stays. Text that is no policy counts as none. */
export function liveForMs(policy: string | undefined, cause: LiveCause): number {
  const [, word, seconds] = LIVE_POLICY.exec(policy ?? '') ?? []
  if (word === 'keep') return Infinity
  if (word === 'cut') return 0
  if (seconds !== undefined) return Number(seconds) * 1000
  return cause === 'revoked' ? 0 : Infinity
}
