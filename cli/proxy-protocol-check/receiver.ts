/** Whom to ask: `host:port`, `[v6]:port` or `unix:/path`. */
import { NearcastError } from '../../lib/errors.ts'

export type Receiver = { readonly host: string; readonly port: number } | { readonly path: string }

/** @throws NearcastError cli.usage */
export function parseReceiver(text: string): Receiver {
  const path = /^unix:(\/.+)$/.exec(text)?.[1]
  if (path !== undefined) return { path }
  const [, bracketed, plain, portText] = /^(?:\[([0-9a-fA-F:.%\w]+)\]|([^:[\]/]+)):(\d{1,5})$/.exec(text) ?? []
  const port = Number(portText)
  const host = bracketed ?? plain
  if (host === undefined || !(port >= 1 && port <= 65_535)) {
    throw new NearcastError('cli.usage', `"${text.slice(0, 80)}" is no receiver: write host:port, [IPv6 address]:port or unix:/path.`, { side: 'client' })
  }
  return { host, port }
}
