/**
 * Who has put which revision in force, and how long after its publication. Time is injected; no sockets.
 *
 * A wait covers the readers that a revision was sent to and ends when all of them acknowledged it, or in time with a list
 * of those missing. A reader that reconnects and acknowledges counts.
 */
import type { ToRouter } from '../../../lib/feed/messages.ts'
import type { JoiningKind } from '../../../lib/identity.ts'

export type FailedService = NonNullable<Extract<ToRouter, { type: 'ack' }>['failed']>[number]

export interface Acknowledged {
  readonly identity: string
  /** From the publication to the acknowledgement. */
  readonly ms: number
  readonly failed: readonly FailedService[]
}

export interface WaitResult {
  readonly acknowledged: readonly Acknowledged[]
  readonly missing: readonly string[]
}

interface Publication {
  readonly revision: number
  readonly atMs: number
  readonly readers: readonly string[]
  readonly acknowledged: Map<string, Acknowledged>
  readonly waiting: Set<() => void>
}

/** Waits begin right after the commit; older publications are only kept for a while. */
const KEPT = 256

export class Acknowledgements {
  readonly #nowMs: () => number
  readonly #publications = new Map<number, Publication>()
  /** Survives a reconnect, not a new join. */
  readonly #inForce = new Map<string, number>()

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  published(revision: number, readers: readonly string[]): void {
    this.#publications.set(revision, { revision, atMs: this.#nowMs(), readers, acknowledged: new Map(), waiting: new Set() })
    for (const [old, publication] of this.#publications) {
      if (this.#publications.size <= KEPT) break
      if (publication.waiting.size === 0) this.#publications.delete(old)
    }
  }

  acknowledged(identity: string, revision: number, failed: readonly FailedService[] = []): void {
    this.#inForce.set(identity, revision)
    const atMs = this.#nowMs()
    for (const publication of this.#publications.values()) {
      if (publication.revision > revision || !publication.readers.includes(identity) || publication.acknowledged.has(identity)) continue
      publication.acknowledged.set(identity, { identity, ms: atMs - publication.atMs, failed })
      for (const wake of publication.waiting) wake()
    }
  }

  /** 0: unknown. */
  inForce(identity: string): number {
    return this.#inForce.get(identity) ?? 0
  }

  forget(identity: string): void {
    this.#inForce.delete(identity)
  }

  /** `kind`: only readers `<kind>/…`. */
  wait(revision: number, kind: JoiningKind, timeoutMs: number): Promise<WaitResult> {
    const publication = this.#publications.get(revision)
    const readers = publication?.readers.filter((identity) => identity.startsWith(`${kind}/`)) ?? []
    if (publication === undefined || readers.length === 0) return Promise.resolve({ acknowledged: [], missing: [] })
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer)
        publication.waiting.delete(check)
        resolve({
          acknowledged: readers.flatMap((identity) => publication.acknowledged.get(identity) ?? []),
          missing: readers.filter((identity) => !publication.acknowledged.has(identity)),
        })
      }
      const check = (): void => {
        if (readers.every((identity) => publication.acknowledged.has(identity))) end()
      }
      const timer = setTimeout(end, Math.max(0, timeoutMs))
      publication.waiting.add(check)
      check()
    })
  }
}
