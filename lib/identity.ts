/**
 * Who a program is: a certificate of the router's own CA whose SAN URI is nearcast://<kind>/<id>, and its private key.
 *
 * A program joins once with a single-use token. The token carries the fingerprint of the CA's certificate, so the very
 * first connection already knows whom to believe: the CA certificate is fetched and compared before the token is sent.
 * The key is made here and never leaves; the whole identity is one file, 0600, replaced by rename.
 * Revocation is the router's business (it knows the one valid serial of each identity); nothing here expires by time.
 */
import { createHash, generateKeyPairSync, randomBytes, timingSafeEqual, X509Certificate } from 'node:crypto'
import { chmodSync, closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { request } from 'node:https'
import { join as joinPath } from 'node:path'
import type { DetailedPeerCertificate, PeerCertificate, SecureVersion } from 'node:tls'
import { connect } from 'node:tls'
import { z } from 'zod'
import { CODES, NearcastError } from './errors.ts'
import type { ErrorCode } from './errors.ts'

export const JOINING_KINDS = ['proxy', 'agent', 'gateway', 'backbone'] as const
/** Programs that join. */
export type JoiningKind = (typeof JOINING_KINDS)[number]
export type ProgramKind = JoiningKind | 'router'

export interface Identity {
  /** `proxy/mad-1` */
  readonly identity: string
  /** PEM. */
  readonly certificate: string
  /** PEM, PKCS #8. A secret. */
  readonly key: string
  /** PEM of the CA. */
  readonly ca: string
}

/** Where the peers of a gateway find it. */
export interface GatewayPlace {
  /** Of WireGuard, base64. */
  readonly publicKey: string
  /** `host:port` by UDP, at least one. */
  readonly endpoints: readonly string[]
  /** `wss://host/` or `wss://host:port/`, for clients that UDP doesn't reach. */
  readonly websocket?: string | undefined
  /** `[address]:port` by UDP, where other gateways find it. */
  readonly neighbours?: string | undefined
}

/** How the other hosts of the backbone reach this one. */
export interface BackbonePlace {
  /** Of WireGuard, base64. */
  readonly publicKey: string
  /** `[address]:port`, by UDP. */
  readonly endpoint: string
  /** The host's own: what goes to these goes through the backbone. */
  readonly addresses: readonly string[]
}

/** By numbers: a name could lead elsewhere. */
export const BACKBONE_ENDPOINT = /^\[([0-9a-fA-F:.]{2,45})\]:([1-9]\d{0,4})$/

export interface JoinOptions {
  /** `https://[address]:port` */
  readonly routerUrl: string
  readonly token: string
  readonly stateDir: string
  readonly kind: JoiningKind
  readonly id: string
  /** Agents: where the hop is reached, host:port. */
  readonly endpoint?: string
  /** Agents: the hop's Unix socket for dialers on the same host. */
  readonly socket?: string
  readonly gateway?: GatewayPlace
  readonly backbone?: BackbonePlace
}

export const ID_PATTERN = /^[a-z0-9][a-z0-9-]{0,39}$/
export const TLS_VERSION: SecureVersion = 'TLSv1.3'
const URI_PREFIX = 'nearcast://'
const FILE = 'identity.json'
const JOIN_TIMEOUT_MS = 10_000
const MAX_ANSWER_BYTES = 64 * 1024

const identitySchema = z.object({ identity: z.string(), certificate: z.string(), key: z.string(), ca: z.string() })
const joinAnswer = z.object({ identity: z.string(), certificate: z.string(), ca: z.string() })
const problem = z.object({ code: z.string(), detail: z.string() })

/** null when the program has never joined. @throws NearcastError identity.invalid when the file can't be used. */
export function loadIdentity(stateDir: string): Identity | null {
  const file = joinPath(stateDir, FILE)
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    throw new NearcastError('identity.invalid', `Can't read ${file}; make it readable for this program alone.`, { cause: error })
  }
  const parsed = identitySchema.safeParse(parseJson(text))
  if (!parsed.success) throw new NearcastError('identity.invalid', `${file} is damaged; remove it and join again with a new token.`)
  return parsed.data
}

/**
 * @throws NearcastError join.token-invalid, join.ca-mismatch (another router, or somebody in between), join.failed
 * (retryable when the router couldn't be reached), or the router's own refusal.
 */
export async function join(options: JoinOptions): Promise<Identity> {
  const { id, kind } = options
  if (!ID_PATTERN.test(id)) throw new NearcastError('identity.invalid', `"${id}" is no id: use up to 40 of a-z, 0-9 and "-".`)
  const fingerprint = /^njt_[A-Za-z0-9_-]{32}_([0-9a-f]{64})$/.exec(options.token)?.[1]
  if (fingerprint === undefined) throw new NearcastError('join.token-invalid', 'The join token is damaged; make a new one with the API.')
  const url = new URL('/v1/join', options.routerUrl)
  const ca = await fetchAuthority(url, fingerprint)
  const { publicKey, privateKey } = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })
  const body = { token: options.token, publicKey, ...(options.endpoint && { endpoint: options.endpoint }), ...(options.socket && { socket: options.socket }), ...(options.gateway && { gateway: options.gateway }), ...(options.backbone && { backbone: options.backbone }) }
  const answer = joinAnswer.safeParse(await post(url, ca, JSON.stringify(body)))
  if (!answer.success) throw new NearcastError('join.failed', `${url.origin} answered a join with something else; is it a router?`)
  if (answer.data.identity !== `${kind}/${id}`) {
    throw new NearcastError('identity.mismatch', `The token is for ${answer.data.identity}, this program is ${kind}/${id}; make a token for it.`)
  }
  const identity: Identity = { ...answer.data, key: privateKey }
  saveIdentity(options.stateDir, identity)
  return identity
}

/** Written whole and atomically: a certificate never stands beside another join's key. */
function saveIdentity(stateDir: string, identity: Identity): void {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 })
  const file = joinPath(stateDir, FILE)
  const temporary = `${file}.${randomBytes(4).toString('hex')}`
  const fd = openSync(temporary, 'wx', 0o600)
  try {
    writeSync(fd, JSON.stringify(identity))
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  chmodSync(temporary, 0o600)
  renameSync(temporary, file)
}

/** The identities that a certificate names: the SAN URIs nearcast://<kind>/<id>, without the scheme. */
export function identitiesOf(certificate: Pick<PeerCertificate, 'subjectaltname'>): string[] {
  return (certificate.subjectaltname ?? '')
    .split(', ')
    .filter((name) => name.startsWith(`URI:${URI_PREFIX}`))
    .map((name) => name.slice(4 + URI_PREFIX.length))
    .filter((name) => /^(proxy|agent|gateway|backbone|router)\/[a-z0-9][a-z0-9-]{0,39}$/.test(name))
}

/** The one identity of a certificate that the TLS layer has verified against our CA, or null. */
export function identityOf(certificate: Pick<PeerCertificate, 'subjectaltname'>): string | null {
  const [identity, ...others] = identitiesOf(certificate)
  return identity !== undefined && others.length === 0 ? identity : null
}

/** For tls.connect: the name of a peer is its identity, never a host name. `accept` decides which one is meant. */
export function checkPeer(accept: (identity: string) => boolean): (host: string, certificate: PeerCertificate) => Error | undefined {
  return (host, certificate) => {
    const identity = identityOf(certificate)
    if (identity !== null && accept(identity)) return undefined
    return new NearcastError('identity.mismatch', `${host} is ${identity ?? 'nobody we know'}, not the peer that was dialled.`, { side: 'upstream' })
  }
}

export const isRouter = (identity: string): boolean => identity.startsWith('router/')

function unreachable(url: URL, cause: unknown): NearcastError {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new NearcastError('join.failed', `Can't join at ${url.origin}: ${why}.`, { side: 'upstream', retryable: true, cause })
}

/** Nothing is sent on this connection: it only shows the chain, whose root must be the one that the token names. */
function fetchAuthority(url: URL, fingerprint: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostOf(url), port: Number(url.port), rejectUnauthorized: false, minVersion: TLS_VERSION, timeout: JOIN_TIMEOUT_MS })
    const end = (error: NearcastError): void => {
      socket.destroy()
      reject(error)
    }
    socket.once('error', (error) => end(unreachable(url, error)))
    socket.once('timeout', () => end(unreachable(url, 'no answer in time')))
    socket.once('secureConnect', () => {
      const root = findRoot(socket.getPeerCertificate(true), fingerprint)
      if (root === null) {
        return end(new NearcastError('join.ca-mismatch', `${url.origin} isn't the router that made this token; check the address.`, { side: 'upstream' }))
      }
      socket.destroy()
      resolve(new X509Certificate(root).toString())
    })
  })
}

function findRoot(leaf: DetailedPeerCertificate, fingerprint: string): Buffer | null {
  const expected = Buffer.from(fingerprint, 'hex')
  let certificate: DetailedPeerCertificate | undefined = leaf
  for (let depth = 0; depth < 4 && certificate?.raw !== undefined; depth++) {
    if (timingSafeEqual(createHash('sha256').update(certificate.raw).digest(), expected)) return certificate.raw
    certificate = certificate.issuerCertificate
  }
  return null
}

function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1')
}

function post(url: URL, ca: string, body: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown): void => reject(error instanceof NearcastError ? error : unreachable(url, error))
    const call = request(
      {
        host: hostOf(url),
        port: Number(url.port),
        path: url.pathname,
        method: 'POST',
        agent: false,
        ca,
        minVersion: TLS_VERSION,
        checkServerIdentity: checkPeer(isRouter),
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
        signal: AbortSignal.timeout(JOIN_TIMEOUT_MS),
      },
      (response) => {
        let text = ''
        response.setEncoding('utf8')
        response.on('data', (part: string) => {
          text += part
          if (text.length > MAX_ANSWER_BYTES) response.destroy(new Error('the answer is too long'))
        })
        response.on('error', fail)
        response.on('end', () => {
          const answer = parseJson(text)
          if (response.statusCode === 200 || response.statusCode === 201) return resolve(answer)
          const refusal = problem.safeParse(answer)
          const retryable = response.statusCode === 429 || (response.statusCode ?? 0) >= 500
          // The router's codes come from the same table, perhaps from a newer one.
          const code = refusal.success && Object.hasOwn(CODES, refusal.data.code) ? (refusal.data.code as ErrorCode) : 'join.failed'
          const why = refusal.success ? refusal.data.detail : `status ${response.statusCode}`
          fail(new NearcastError(code, `${url.origin} refused the join: ${why}`, { side: 'upstream', retryable }))
        })
      },
    )
    call.on('error', fail)
    call.end(body)
  })
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
