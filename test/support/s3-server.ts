/**
 * A server that speaks S3 (s3rver, which checks signatures by an implementation of its own), on a directory of this test's; in
 * front of it a door that can be told to fail, or to stay silent.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, request } from 'node:http'
import type { IncomingMessage, Server } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

interface S3rver {
  run(): Promise<AddressInfo>
  close(): Promise<void>
}
const Rver = createRequire(import.meta.url)('@20minutes/s3rver') as new (options: object) => S3rver

/** The one account that it has. */
export const S3_KEY = { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' } as const

export interface S3Server {
  /** With a prefix. */
  readonly url: string
  /** A file with its key. */
  readonly keyFile: string
  readonly directory: string
  /** So many requests more are answered 503. */
  failing: number
  /** So many uploads more are put together, and the answer is lost. */
  losing: number
  /** Requests are taken and never answered. */
  silent: boolean
  /** As they came: `PUT /bucket/key?…`. */
  readonly requests: string[]
  close(): Promise<void>
}

export async function startS3Server(): Promise<S3Server> {
  const directory = mkdtempSync(join(tmpdir(), 'nearcast-s3-'))
  const inner = new Rver({ address: '127.0.0.1', port: 0, silent: true, directory: join(directory, 'buckets'), configureBuckets: [{ name: 'backups' }], vhostBuckets: false })
  const { port } = await inner.run()
  const requests: string[] = []
  const state = { failing: 0, losing: 0, silent: false }
  const door = createServer((incoming, answer) => {
    requests.push(`${incoming.method} ${incoming.url}`)
    if (state.silent) return
    if (state.failing > 0) {
      state.failing--
      incoming.resume()
      answer.writeHead(503).end('<Error><Code>SlowDown</Code></Error>')
      return
    }
    const onward = request({ host: '127.0.0.1', port, method: incoming.method, path: incoming.url, headers: incoming.headers }, (response: IncomingMessage) => {
      if (state.losing > 0 && incoming.method === 'POST' && incoming.url?.includes('uploadId=') === true) {
        state.losing--
        response.resume().on('end', () => answer.destroy())
        return
      }
      answer.writeHead(response.statusCode ?? 502, response.headers)
      response.pipe(answer)
    })
    onward.on('error', () => answer.destroy())
    incoming.pipe(onward)
  })
  await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve))
  const keyFile = join(directory, 'key')
  writeFileSync(keyFile, `${S3_KEY.accessKeyId}\n${S3_KEY.secretAccessKey}\n`, { mode: 0o600 })
  return Object.assign(state, {
    url: `http://127.0.0.1:${(door.address() as AddressInfo).port}/backups/nearcast`,
    keyFile,
    directory,
    requests,
    async close() {
      await closed(door)
      await inner.close()
      rmSync(directory, { recursive: true, force: true })
    },
  })
}

function closed(server: Server): Promise<void> {
  server.closeAllConnections()
  return new Promise((resolve) => server.close(() => resolve()))
}
