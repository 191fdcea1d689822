/**
 * Opens a replica's bridge: a listener in the engine's own network namespace, or, where there is none, on loopback
 * (reachable by local users then; the primary asks every replica for the database's own replication secret).
 */
import { listenInNamespace, setLoopbackUp } from '../../../lib/kernel/namespaces.ts'
import type { Plane } from '../../../lib/plane/plane.ts'
import { BridgeBrain } from './bridge.ts'
import type { PrimaryDial } from './bridge.ts'
import type { OpenBridge } from './supervision.ts'

/** In an empty namespace any port is free. */
const PORT = 6379
const HOST = '127.0.0.1'
/** Redis keeps one connection to its primary; a second one appears while the first is dying. */
const MAX_CONNECTIONS = 4
const DIAL_TIMEOUT_MS = 2000
const STATUS_TIMEOUT_MS = 5000

export interface BridgeListenerOptions {
  readonly plane: Plane
  readonly namespace: string | null
  readonly dial: () => Promise<PrimaryDial | null>
  readonly unknownSession: (session: Uint8Array) => void
}

/** @throws NearcastError kernel.call-failed, listen.failed */
export async function openBridge({ plane, namespace, dial, unknownSession }: BridgeListenerOptions): Promise<OpenBridge> {
  const open = new Set<number>()
  const listener = await plane.listen({
    target: namespace === null ? { kind: 'tcp', host: HOST, port: 0 } : { kind: 'fd', fd: listenInside(namespace) },
    maxConnections: MAX_CONNECTIONS,
    brain: (id) => {
      open.add(id)
      const brain = new BridgeBrain({ dialTimeoutMs: DIAL_TIMEOUT_MS, statusTimeoutMs: STATUS_TIMEOUT_MS, unknownSession })
      return {
        on: (event) => {
          if (event.type === 'closed') open.delete(id)
          return brain.on(event)
        },
      }
    },
    answer: dial,
  })
  return {
    port: namespace === null ? listener.port : PORT,
    async close() {
      await listener.close()
      for (const id of open) plane.cut(id)
    },
  }
}

function listenInside(namespace: string): number {
  setLoopbackUp(namespace)
  return listenInNamespace(namespace, HOST, PORT)
}
