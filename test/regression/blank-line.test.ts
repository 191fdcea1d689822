/**
 * A line of spaces is a request that nobody answers. Valkey 8.0 reads what follows one as lines, arrays too: an array that was
 * counted as one command was carried out as the many that its payload holds.
 */
import { connect, createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { Account } from '../../agent/redis/limits/account.ts'
import { ReadConnection } from '../../agent/redis/limits/read-connection.ts'
import { Random, testSeed } from '../support/random.ts'
import { pieces } from '../support/resp.ts'
import { until } from '../support/until.ts'

const closing: (() => unknown)[] = []
afterEach(() => {
  for (const close of closing.splice(0).toReversed()) close()
})

async function ends(): Promise<{ readonly outer: Socket; readonly inner: Socket }> {
  const directory = mkdtempSync(join(tmpdir(), 'nearcast-blank-'))
  const server: Server = createServer().listen(join(directory, 's'))
  await once(server, 'listening')
  const outer = connect(join(directory, 's'))
  const [inner] = (await once(server, 'connection')) as [Socket]
  closing.push(() => {
    outer.destroy()
    inner.destroy()
    server.close()
    rmSync(directory, { recursive: true })
  })
  return { outer, inner }
}

test('requests without a word are counted as nothing, and no engine hears of them', async () => {
  const random = new Random(testSeed('blank'))
  const empty: readonly [string, ...string[]] = ['  \r\n', '\r\n', '\n', ' \t \n', '*0\r\n', '*-1\r\n']
  const full: readonly [string, ...string[]] = ['PING\r\n', '*1\r\n$4\r\nPING\r\n', '*2\r\n$4\r\nECHO\r\n$6\r\nPING\r\n\r\n', '""\r\n']
  for (let round = 0; round < 20; round++) {
    const account = new Account(null, { nowMs: () => 0, tickMs: () => 0, warn: () => {}, hit: () => {} })
    const [client, engine] = [await ends(), await ends()]
    const connection = new ReadConnection({ client: client.inner, engine: engine.outer, account, kindOf: () => 'other', makeRoom: round % 2 === 0 ? null : async () => {}, nowMs: () => 0 })
    expect(connection).toBeDefined()
    const said = Array.from({ length: 30 }, () => random.pick(random.below(2) === 0 ? empty : full))
    const wanted = said.filter((each) => full.includes(each))
    let heard = ''
    engine.inner.on('data', (chunk: Buffer) => (heard += chunk.toString('latin1')))
    for (const part of pieces(random, Buffer.from(`${said.join('')}QUIT\r\n`))) {
      client.outer.write(part)
      await new Promise((resolve) => setImmediate(resolve))
    }
    await until('the engine has heard the last word', () => heard.endsWith('QUIT\r\n'))
    expect(heard).toBe(`${wanted.join('')}QUIT\r\n`)
    expect(account.usage.commands).toBe(wanted.filter((each) => !each.includes('PING\r\n') || each.includes('ECHO')).length)
  }
})
