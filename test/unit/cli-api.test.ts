/** The API client against servers that answer well, badly, and not at all. */
import { createServer } from 'node:http'
import type { RequestListener, Server } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { z } from 'zod'
import { ApiClient } from '../../cli/api-client.ts'
import { listOf } from '../../cli/api-objects.ts'

let server: Server | undefined
afterEach(() => {
  server?.closeAllConnections()
  server?.close()
})

async function answering(listener: RequestListener): Promise<ApiClient> {
  server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return new ApiClient({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, token: 'the-token' })
}

test('sends the token and the body, gives what the schema says', async () => {
  const client = await answering((request, response) => {
    let text = ''
    request.on('data', (data: Buffer) => (text += data.toString()))
    request.on('end', () => response.end(JSON.stringify({ method: request.method, authorization: request.headers.authorization, body: JSON.parse(text) as unknown, extra: 1 })))
  })
  const schema = z.object({ method: z.string(), authorization: z.string(), body: z.unknown() })
  expect(await client.post('/v1/x', { a: 1 }, schema)).toEqual({ method: 'POST', authorization: 'Bearer the-token', body: { a: 1 } })
})

test('a problem document becomes an error with its code and sentence', async () => {
  const client = await answering((_request, response) => {
    response.writeHead(404, { 'content-type': 'application/problem+json' }).end(JSON.stringify({ status: 404, code: 'network.not-found', title: 'Not found', detail: 'No network "x".' }))
  })
  await expect(client.get('/v1/x', z.unknown())).rejects.toMatchObject({ code: 'network.not-found', message: 'No network "x".', side: 'upstream' })
})

test.each([
  ['another program', (_request, response) => void response.writeHead(500).end('<html>oops</html>'), /without saying why/],
  ['another form', (_request, response) => void response.end('{"a":1}'), /form that this version/],
  ['no JSON', (_request, response) => void response.end('{'), /form that this version/],
  ['an endless answer', (_request, response) => {
    const chunk = Buffer.alloc(1 << 20)
    const more = (): void => {
      while (!response.destroyed && response.write(chunk));
      if (!response.destroyed) response.once('drain', more)
    }
    more()
  }, /longer than/],
] as const satisfies readonly (readonly [string, RequestListener, RegExp])[])('%s is api.error', async (_name, listener, message) => {
  const client = await answering(listener)
  await expect(client.get('/v1/x', z.object({ wanted: z.string() }))).rejects.toMatchObject({ code: 'api.error', message: expect.stringMatching(message) })
})

test('redirects are not followed: the token stays with the API', async () => {
  const client = await answering((_request, response) => void response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end())
  await expect(client.get('/v1/x', z.unknown())).rejects.toMatchObject({ code: 'api.unreachable' })
})

test('nobody there', async () => {
  const client = await answering(() => {})
  server?.close()
  await once(server ?? process, 'close')
  await expect(client.get('/v1/x', z.unknown())).rejects.toMatchObject({ code: 'api.unreachable', message: expect.stringContaining('nearcast dev status') })
})

test('lists come bare or as the only array of an object', () => {
  const list = listOf(z.object({ id: z.string() }))
  expect(list.parse([{ id: 'a' }])).toEqual([{ id: 'a' }])
  expect(list.parse({ databases: [{ id: 'a' }], next: null })).toEqual([{ id: 'a' }])
  expect(list.safeParse({ one: [], two: [] }).success).toBe(false)
})
