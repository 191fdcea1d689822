/** Backups in a bucket: every kind of request against a server that speaks S3, what fails, and from the API to a lost node. */
import { randomBytes } from 'node:crypto'
import { afterEach, expect, test } from 'vitest'
import { BackupFiles } from '../../agent/redis/copies/backup-files.ts'
import { readBackup, writeBackup } from '../../agent/redis/copies/backup-storage.ts'
import { accessKey, isBucketUrl, S3Bucket } from '../../agent/redis/copies/s3-bucket.ts'
import { RespClient } from '../../agent/redis/resp/client.ts'
import { DataNode } from '../support/data-node.ts'
import { startRegistry } from '../support/registry.ts'
import { S3_KEY, startS3Server } from '../support/s3-server.ts'
import type { S3Server } from '../support/s3-server.ts'
import { until } from '../support/until.ts'

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

async function server(): Promise<S3Server> {
  const started = await startS3Server()
  closing.push(() => started.close())
  return started
}

function bucketOf({ url }: S3Server, changes: Partial<ConstructorParameters<typeof S3Bucket>[0]> = {}): S3Bucket {
  return new S3Bucket({ url, region: 'us-east-1', ...S3_KEY, requestTimeoutMs: 5000, firstPauseMs: 5, ...changes })
}

async function* of(...pieces: Buffer[]): AsyncGenerator<Buffer> {
  yield* pieces
}

async function* broken(): AsyncGenerator<Buffer> {
  yield randomBytes(6 << 20)
  yield randomBytes(6 << 20)
  throw new Error('the copy broke off')
}

async function whole(pieces: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = []
  for await (const piece of pieces) all.push(piece)
  return Buffer.concat(all)
}

const PLACE = { service: 'svc_1', backup: 'bak_1' }
const PART_BYTES = 5 << 20

test('what is written comes back, small and in parts, whole and in ranges; what is removed is missing', async () => {
  const s3 = await server()
  const bucket = bucketOf(s3, { partBytes: PART_BYTES })
  const key = randomBytes(32)
  for (const [bytes, requests] of [[0, 1], [100_000, 1], [(5 << 20) + 1000, 5]] as const) {
    const plain = randomBytes(bytes)
    s3.requests.length = 0
    const content = await writeBackup(bucket, PLACE, key, of(plain.subarray(0, 7), plain.subarray(7)))
    // Begun, two parts, put together, and looked at.
    expect([content.bytes, s3.requests.length]).toEqual([bytes, requests])
    expect((await whole(readBackup(bucket, PLACE, key, content))).equals(plain)).toBe(true)
    const [from, length] = [Math.floor(content.storedBytes / 3), Math.min(1000, content.storedBytes)]
    expect((await bucket.readStored(PLACE, from, length)).equals((await bucket.readStored(PLACE, 0, from + length)).subarray(from))).toBe(true)
    expect(await bucket.readStored(PLACE, content.storedBytes + 10, 100)).toHaveLength(0)
    expect(s3.requests.every((line) => line.includes('/backups/nearcast/svc_1/bak_1'))).toBe(true)
    await bucket.remove(PLACE)
    await bucket.remove(PLACE)
    await expect(bucket.readStored(PLACE, 0, 10)).rejects.toMatchObject({ code: 'redis.backup-missing' })
  }
  await expect(bucket.readStored({ service: '../other', backup: 'b' }, 0, 1)).rejects.toMatchObject({ code: 'redis.backup-missing' })
})

test('a bucket that refuses says why, one that fails is asked again, one that is silent has a deadline; nothing of it stays', async () => {
  const s3 = await server()
  const refused = (changes: object): Promise<unknown> => writeBackup(bucketOf(s3, changes), PLACE, randomBytes(32), of(Buffer.from('x')))
  await expect(refused({ secretAccessKey: 'wrong' })).rejects.toMatchObject({ code: 'redis.backup-store', retryable: false, message: expect.stringContaining('SignatureDoesNotMatch') })
  await expect(refused({ url: s3.url.replace('backups', 'others') })).rejects.toMatchObject({ message: expect.stringContaining('NoSuchBucket') })
  s3.failing = 3
  s3.requests.length = 0
  await writeBackup(bucketOf(s3), PLACE, randomBytes(32), of(Buffer.from('x')))
  expect(s3.requests).toHaveLength(4)
  s3.failing = 100
  await expect(bucketOf(s3).readStored(PLACE, 0, 10)).rejects.toMatchObject({ code: 'redis.backup-store', retryable: true, message: expect.stringContaining('SlowDown') })
  s3.failing = 0
  s3.silent = true
  await expect(bucketOf(s3, { requestTimeoutMs: 50 }).readStored(PLACE, 0, 10)).rejects.toMatchObject({ code: 'redis.backup-store', message: expect.stringContaining('no answer in time') })
  s3.silent = false
  // What breaks off in the middle is given up.
  const other = { service: 'svc_1', backup: 'bak_2' }
  s3.requests.length = 0
  await expect(writeBackup(bucketOf(s3, { partBytes: PART_BYTES }), other, randomBytes(32), broken())).rejects.toThrow('broke off')
  expect(s3.requests.at(-1)).toMatch(/^DELETE .*uploadId=/)
  await expect(bucketOf(s3).readStored(other, 0, 10)).rejects.toMatchObject({ code: 'redis.backup-missing' })
  // An answer that is lost changes nothing.
  s3.losing = 1
  const content = await writeBackup(bucketOf(s3, { partBytes: PART_BYTES }), other, randomBytes(32), of(randomBytes(6 << 20)))
  expect([s3.losing, (await bucketOf(s3).readStored(other, content.storedBytes - 5, 10)).length]).toEqual([0, 5])
  // More than was asked for is read by nobody.
  await writeBackup(bucketOf(s3), other, randomBytes(32), of(randomBytes(100_000)))
  expect(await bucketOf(s3).readStored(other, 0, 1000)).toHaveLength(1000)
})

test('a damaged object is found before anything is replaced; the disk and the bucket hold the same', async () => {
  const s3 = await server()
  const bucket = bucketOf(s3)
  const key = randomBytes(32)
  const plain = randomBytes(200_000)
  const content = await writeBackup(bucket, PLACE, key, of(plain))
  const files = new BackupFiles(`${s3.directory}/disk`)
  expect(await writeBackup(files, PLACE, key, of(plain))).toEqual(content)
  const stored = await bucket.readStored(PLACE, 0, content.storedBytes)
  expect(stored.equals(await files.readStored(PLACE, 0, content.storedBytes))).toBe(true)
  stored[70_000] = (stored[70_000] ?? 0) ^ 1
  await bucket.write(PLACE, of(stored))
  await expect(whole(readBackup(bucket, PLACE, key, content))).rejects.toMatchObject({ code: 'redis.backup-damaged' })
  await bucket.write(PLACE, of(stored.subarray(0, 100_000)))
  await expect(whole(readBackup(bucket, PLACE, key, content))).rejects.toMatchObject({ code: 'redis.backup-damaged' })
})

test('only places that keep a secret are taken, and only whole keys', async () => {
  for (const url of ['https://s3.eu-west-1.amazonaws.com/b', 'https://minio.internal:9000/b/some/prefix/', 'http://127.0.0.1:9000/b', 'http://[::1]:9000/b']) expect([url, isBucketUrl(url)]).toEqual([url, true])
  for (const url of ['http://s3.example.com/b', 'https://s3.example.com/', 'https://key:secret@s3.example.com/b', 'https://s3.example.com/b?x=1', 's3://b', 'https://s3.example.com/b/../c d', 'nonsense']) expect([url, isBucketUrl(url)]).toEqual([url, false])
  const s3 = await server()
  expect(accessKey(s3.keyFile)).toEqual(S3_KEY)
  expect(() => accessKey(`${s3.directory}/nothing`)).toThrow(/can't be read/)
})

test('taken into the bucket by one node, restored by another after the first is gone; removed with its database', async () => {
  const s3 = await server()
  const registry = await startRegistry()
  closing.push(() => registry.remove())
  await registry.made('/v1/orgs', { name: 'acme' })
  const nodes = new Map<string, DataNode>()
  const readers = new Map<string, { stop(): Promise<void> }>()
  const say = async (name: string, ...words: string[]): Promise<unknown> => {
    const { id, password, node } = databases.get(name) ?? { id: '', password: '', node: null }
    if (node === null) throw new Error(name)
    await node.available(id)
    const client = new RespClient(node.engineSocket(id))
    try {
      await client.command(['AUTH', password], 5000)
      return await client.command(words, 10_000)
    } finally {
      client.close()
    }
  }
  const databases = new Map<string, { readonly id: string; readonly password: string; readonly node: DataNode }>()
  for (const [name, region, bucket] of [['one', 'mad', true], ['two', 'ams', true], ['three', 'fra', false]] as const) {
    const node = new DataNode({ id: region, redis: bucket ? { backupBucket: s3.url, backupKeyFile: s3.keyFile } : {} })
    closing.push(() => node.close())
    nodes.set(region, node)
    const identity = await registry.join('agent', region, region)
    const reader = registry.reader(identity, { apply: (table, changes) => node.agent.apply(table, changes), ask: (question, params) => node.agent.answer(question, params) })
    readers.set(region, reader)
    await reader.start()
    const made = await registry.made('/v1/orgs/acme/redis', { name, region })
    databases.set(name, { id: String(made['id']), password: String(made['password']), node })
  }
  await say('one', 'SET', 'k', 'v'.repeat(100_000))
  const backup = await registry.made('/v1/orgs/acme/redis/one/backups', {})
  expect(backup).toMatchObject({ state: 'ready', stored: 'bucket' })
  const objects = (): string[] => s3.requests.filter((line) => line.startsWith('PUT '))
  expect(objects()).toHaveLength(1)
  const part = await registry.call('GET', `/v1/orgs/acme/redis/one/backups/${String(backup['id'])}/content?offset=0`)
  expect(Buffer.from(String(part.body['data']), 'base64').toString('latin1', 0, 5)).toBe('REDIS')
  await readers.get('mad')?.stop()
  await nodes.get('mad')?.stop()
  await until('the router knows', () => !registry.registry.feed.isConnected('agent/mad'))
  expect((await registry.call('POST', '/v1/orgs/acme/redis/two/restore', { backup: backup['id'] })).body).toMatchObject({ state: 'restored' })
  expect(await say('two', 'STRLEN', 'k')).toMatchObject({ value: 100_000 })
  // A node that knows no bucket says so, and keeps what it has.
  expect((await registry.call('POST', '/v1/orgs/acme/redis/three/restore', { backup: backup['id'] })).body).toMatchObject({ code: 'redis.backup-missing' })
  const second = await registry.made('/v1/orgs/acme/redis/two/backups', {})
  expect((await registry.call('DELETE', '/v1/orgs/acme/redis/two')).status).toBe(200)
  await until('its object is removed', () => s3.requests.some((line) => line.startsWith('DELETE ') && line.endsWith(String(second['id']))))
})
