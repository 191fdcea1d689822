/**
 * Backups in a bucket that speaks S3 (Amazon's API of 2006-03-01, path style): one object for each, `<prefix><service>/<backup>`.
 *
 * Requests are signed (Signature Version 4, aws4fetch) together with the checksum of their body, have a deadline each, and are
 * tried again when the bucket or the way to it fails. A large backup goes up in parts of one size, one after the other: an
 * object is there whole or not at all, and what broke off is given up. What a killed agent leaves of an upload isn't an
 * object; the bucket's own rule for incomplete uploads removes it (docs/redis.md).
 */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { AwsClient } from 'aws4fetch'
import { NearcastError } from '../../../lib/errors.ts'
import type { BackupPlace, BackupStorage } from './backup-storage.ts'
import { checkPlace } from './backup-storage.ts'

export interface S3BucketOptions {
  /** `https://host/bucket`, with a prefix behind it or not; plain HTTP to this machine only. */
  readonly url: string
  readonly region: string
  readonly accessKeyId: string
  /** A secret. */
  readonly secretAccessKey: string
  /** Of one request. */
  readonly requestTimeoutMs: number
  /** At least 5 MiB, as S3 wants it. */
  readonly partBytes?: number
  /** Before the second try; each further one waits for twice as long. */
  readonly firstPauseMs?: number
}

interface S3Request {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE'
  readonly place: BackupPlace
  readonly query?: Readonly<Record<string, string>>
  readonly body?: Buffer
  readonly headers?: Readonly<Record<string, string>>
  /** Of the answer. */
  readonly maxBytes?: number
}

interface S3Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Buffer
}

/** 10,000 of them are S3's limit: 160 GB. */
const PART_BYTES = 16 << 20
const MAX_PARTS = 10_000
const TRIES = 4
const FIRST_PAUSE_MS = 200
const MAX_ANSWER_BYTES = 1 << 20
const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])
const PATH = /^\/[A-Za-z0-9._-]{1,63}(?:\/[A-Za-z0-9._-]{1,128}){0,8}\/?$/

export function isBucketUrl(text: string): boolean {
  const url = URL.parse(text)
  const isPrivate = url?.protocol === 'https:' || (url?.protocol === 'http:' && LOOPBACK.has(url.hostname))
  return url !== null && isPrivate && PATH.test(url.pathname) && url.search === '' && url.hash === '' && url.username === '' && url.password === ''
}

/** Two words in a file: the id of the access key and the secret. @throws NearcastError config.invalid */
export function accessKey(file: string): Pick<S3BucketOptions, 'accessKeyId' | 'secretAccessKey'> {
  const [accessKeyId, secretAccessKey, ...more] = read(file).trim().split(/\s+/)
  if (accessKeyId === undefined || secretAccessKey === undefined || more.length > 0) {
    throw new NearcastError('config.invalid', `redis.backupKeyFile: ${file} has to hold two words, the id of an access key and its secret.`)
  }
  return { accessKeyId, secretAccessKey }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new NearcastError('config.invalid', `redis.backupKeyFile: ${file} can't be read.`, { cause: error })
  }
}

export class S3Bucket implements BackupStorage {
  readonly name: string
  readonly #client: AwsClient
  readonly #requestTimeoutMs: number
  readonly #partBytes: number
  readonly #firstPauseMs: number

  constructor({ url, region, accessKeyId, secretAccessKey, requestTimeoutMs, partBytes = PART_BYTES, firstPauseMs = FIRST_PAUSE_MS }: S3BucketOptions) {
    this.name = url.replace(/\/$/, '')
    this.#client = new AwsClient({ accessKeyId, secretAccessKey, region, service: 's3', retries: 0 })
    this.#requestTimeoutMs = requestTimeoutMs
    this.#partBytes = partBytes
    this.#firstPauseMs = firstPauseMs
  }

  async write(place: BackupPlace, chunks: AsyncIterable<Buffer>): Promise<void> {
    const parts = gathered(chunks, this.#partBytes)
    const first = await parts.next()
    if (first.done === true) throw failed('there was nothing to store')
    let next = await parts.next()
    if (next.done === true) return void (await this.#ask({ method: 'PUT', place, body: first.value }))
    const uploadId = textIn('UploadId', await this.#ask({ method: 'POST', place, query: { uploads: '' } }))
    try {
      const etags = [await this.#part(place, uploadId, 1, first.value)]
      let bytes = first.value.length
      for (; next.done !== true; next = await parts.next()) {
        if (etags.length === MAX_PARTS) throw failed(`a backup has at most ${MAX_PARTS} parts of ${this.#partBytes} bytes there`)
        etags.push(await this.#part(place, uploadId, etags.length + 1, next.value))
        bytes += next.value.length
      }
      const list = etags.map((etag, index) => `<Part><PartNumber>${index + 1}</PartNumber><ETag>${escaped(etag)}</ETag></Part>`).join('')
      const body = Buffer.from(`<CompleteMultipartUpload>${list}</CompleteMultipartUpload>`)
      const problem = await this.#ask({ method: 'POST', place, query: { uploadId }, body }).then(problemIn, (error: unknown) => error)
      // A good answer may be lost, and a bad one comes with a good status: the object itself says how it went.
      const there = await this.#ask({ method: 'HEAD', place }).catch(() => null)
      if (Number(there?.headers.get('content-length') ?? -1) !== bytes) throw problem ?? failed('what is there is not what was sent')
    } catch (error) {
      await this.#ask({ method: 'DELETE', place, query: { uploadId } }).catch(() => {})
      throw error
    }
  }

  async readStored(place: BackupPlace, offset: number, maxBytes: number): Promise<Buffer> {
    const { status, body } = await this.#ask({ method: 'GET', place, headers: { range: `bytes=${offset}-${offset + maxBytes - 1}` }, maxBytes })
    // Beyond its end.
    if (status === 416) return Buffer.alloc(0)
    if (status === 206 || offset === 0) return body
    throw failed('it gives no ranges of an object')
  }

  async remove(place: BackupPlace): Promise<void> {
    await this.#ask({ method: 'DELETE', place }).catch((error: unknown) => {
      if (!(error instanceof NearcastError) || error.code !== 'redis.backup-missing') throw error
    })
  }

  /** @returns what names it when the object is put together */
  async #part(place: BackupPlace, uploadId: string, number: number, body: Buffer): Promise<string> {
    const { headers } = await this.#ask({ method: 'PUT', place, query: { partNumber: String(number), uploadId }, body })
    return headers.get('etag') ?? ''
  }

  /** @throws NearcastError redis.backup-missing, redis.backup-store */
  async #ask(request: S3Request): Promise<S3Answer> {
    checkPlace(request.place)
    for (let attempt = 1; ; attempt++) {
      const answer = await this.#once(request).catch((error: unknown) => (error instanceof NearcastError ? error : failed(reasonOf(error), true)))
      if (!(answer instanceof NearcastError)) return answer
      if (!answer.retryable || attempt === TRIES) throw answer
      await delay(this.#firstPauseMs * 2 ** (attempt - 1) * (0.5 + Math.random() / 2))
    }
  }

  async #once({ method, place, query = {}, body, headers = {}, maxBytes = MAX_ANSWER_BYTES }: S3Request): Promise<S3Answer> {
    const url = new URL(`${this.name}/${place.service}/${place.backup}`)
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
    const checksum = createHash('sha256').update(body ?? '').digest('hex')
    const signed = await this.#client.sign(url.href, { method, headers: { ...headers, 'x-amz-content-sha256': checksum }, ...(body !== undefined && { body: new Uint8Array(body) }) })
    const response = await fetch(signed, { signal: AbortSignal.timeout(this.#requestTimeoutMs), redirect: 'error' })
    const answer = { status: response.status, headers: response.headers, body: await bounded(response, response.ok ? maxBytes : MAX_ANSWER_BYTES) }
    if (response.ok || response.status === 416) return answer
    const code = textIn('Code', answer, String(response.status))
    if (response.status === 404 && code !== 'NoSuchBucket' && code !== 'NoSuchUpload') throw new NearcastError('redis.backup-missing', `The backup ${place.backup} isn't in ${this.name}.`)
    throw failed(`${code} (${response.status})`, response.status >= 500 || response.status === 429)
  }
}

/** In pieces of that size; the last one may be shorter. */
async function* gathered(chunks: AsyncIterable<Buffer>, bytes: number): AsyncGenerator<Buffer, undefined> {
  let held: Buffer[] = []
  let heldBytes = 0
  for await (const chunk of chunks) {
    held.push(chunk)
    heldBytes += chunk.length
    if (heldBytes < bytes) continue
    const all = Buffer.concat(held)
    let at = 0
    for (; heldBytes - at >= bytes; at += bytes) yield all.subarray(at, at + bytes)
    held = at === heldBytes ? [] : [all.subarray(at)]
    heldBytes -= at
  }
  if (heldBytes > 0) yield Buffer.concat(held)
  return undefined
}

/** @throws NearcastError redis.backup-store */
async function bounded(response: Response, maxBytes: number): Promise<Buffer> {
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const part of response.body ?? []) {
    bytes += part.length
    if (bytes > maxBytes) throw failed('it answers with more than was asked for')
    parts.push(part)
  }
  return Buffer.concat(parts)
}

/** Of one element; its answers are flat. @throws NearcastError redis.backup-store unless there is `otherwise` */
function textIn(element: string, { body }: S3Answer, otherwise?: string): string {
  const [, text] = new RegExp(`<${element}>([^<]{1,1024})</${element}>`).exec(body.toString()) ?? []
  if (text !== undefined) return text.replaceAll('&quot;', '"').replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&').replaceAll(/[^ -~]/g, '?')
  if (otherwise !== undefined) return otherwise
  throw failed(`its answer has no ${element}`)
}

/** It may have failed after its status was sent. */
function problemIn(answer: S3Answer): NearcastError | null {
  return answer.body.includes('<Error>') ? failed(textIn('Code', answer, 'an error without a code')) : null
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error.name === 'TimeoutError') return 'no answer in time'
  return error.cause instanceof Error ? error.cause.message : error.message
}

function failed(why: string, retryable = false): NearcastError {
  return new NearcastError('redis.backup-store', `The store of backups says: ${why.slice(0, 200)}.`, { side: 'upstream', retryable })
}
