/**
 * The administration port of every program: /metrics (Prometheus text), /healthz (200 while the event loop turns) and
 * /readyz (200, or 503 with one reason a line). Plain HTTP without secrets; it changes nothing.
 */
import { createServer } from 'node:http'
import { listenOn, parseListen } from './listen.ts'
import type { Metrics } from './metrics.ts'

export interface AdminOptions {
  /** host:port, unix:/path or fd:N. */
  readonly listen: string
  readonly metrics: Metrics
  /** Why the program can't serve right now; empty when it can. */
  readonly ready: () => string[]
}

export interface Admin {
  /** 0 on a Unix socket. */
  readonly port: number
  close(): Promise<void>
}

/** @throws NearcastError config.invalid, listen.in-use, listen.denied */
export async function startAdmin(options: AdminOptions): Promise<Admin> {
  const server = createServer({ requestTimeout: 5000, headersTimeout: 5000 }, (request, response) => {
    const answer = (status: number, text: string, type = 'text/plain; charset=utf-8'): void => {
      response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(request.method === 'HEAD' ? undefined : text)
    }
    request.resume()
    if (request.method !== 'GET' && request.method !== 'HEAD') return answer(405, 'Use GET.\n')
    const path = request.url?.split('?')[0]
    if (path === '/healthz') return answer(200, 'ok\n')
    if (path === '/readyz') {
      const reasons = options.ready()
      return reasons.length === 0 ? answer(200, 'ready\n') : answer(503, `${reasons.join('\n')}\n`)
    }
    if (path !== '/metrics') return answer(404, 'Here are /metrics, /healthz and /readyz.\n')
    options.metrics.text().then(
      (text) => answer(200, text, options.metrics.contentType),
      () => answer(500, 'metrics failed\n'),
    )
  })
  server.maxConnections = 64
  const port = await listenOn(server, parseListen(options.listen))
  return {
    port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
