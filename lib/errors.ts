/**
 * The one error class and the table of its codes.
 *
 * Every error that leaves a program (API answer, log line, exit message) carries a stable `code` from `CODES`.
 * `docs/errors.md` explains each one; a test holds the two together.
 */

/** code -> HTTP status that the API answers with; programs that exit use it for nothing else. */
export const CODES = {
  'address.invalid': 400,
  'address.not-found': 404,
  'address.exhausted': 409,
  'config.invalid': 400,
  'config.missing': 400,
  'listen.denied': 500,
  'listen.failed': 500,
  'listen.in-use': 500,
  'network.missing': 400,
  'network.not-found': 404,
  'kernel.call-failed': 500,
  'kernel.unsupported': 501,
  'cli.cancelled': 400,
  'cli.file': 400,
  'cli.not-confirmed': 400,
  'cli.usage': 400,
  'api.unreachable': 502,
  'api.error': 502,
  'dev.not-running': 404,
  'dev.running': 409,
  'backbone.address-taken': 409,
  'backbone.key-unknown': 500,
  'backbone.not-found': 404,
  'backbone.rekeying': 409,
  'dev.failed': 500,
  'dev.unknown-target': 404,
  'dev.user-namespaces': 501,
  'topology.invalid': 400,
  'api.body-invalid': 400,
  'api.body-too-large': 413,
  'api.method-not-allowed': 405,
  'api.not-found': 404,
  'api.rate-limited': 429,
  'api.unauthorized': 401,
  'explain.no-proxy': 503,
  'feed.ask-failed': 502,
  'feed.ask-timeout': 504,
  'feed.cache-corrupt': 500,
  'feed.cache-unwritable': 507,
  'feed.identity-refused': 403,
  'feed.message-invalid': 400,
  'feed.revision-gap': 409,
  'feed.too-slow': 503,
  'feed.unreachable': 503,
  'feed.version-unknown': 426,
  'gateway.not-found': 404,
  'grant.full': 409,
  'grant.network': 409,
  'grant.not-found': 404,
  'grant.self': 400,
  'host.command-missing': 501,
  'host.denied': 500,
  'host.failed': 500,
  'host.overlap': 409,
  'identity.invalid': 400,
  'identity.mismatch': 409,
  'join.ca-mismatch': 400,
  'join.failed': 502,
  'join.token-expired': 403,
  'join.token-invalid': 401,
  'join.token-missing': 400,
  'join.token-used': 403,
  'name.taken': 409,
  'network.exhausted': 409,
  'node.in-use': 409,
  'node.not-found': 404,
  'org.not-found': 404,
  'proxy.not-found': 404,
  'quota.addresses': 409,
  'quota.databases': 409,
  'quota.grants': 409,
  'quota.networks': 409,
  'quota.peers': 409,
  'quota.services': 409,
  'redis.node-away': 503,
  'redis.not-found': 404,
  'redis.plan-unknown': 404,
  'redis.region-unknown': 400,
  'redis.replica-duplicate': 400,
  'service.shadow-forbidden': 403,
  'service.backend-denied': 403,
  'service.backend-down': 503,
  'service.backend-forbidden': 403,
  'service.backend-invalid': 400,
  'service.backend-missing': 400,
  'service.backend-unchecked': 503,
  'service.backend-unused': 400,
  'service.not-found': 404,
  'store.corrupt': 500,
  'store.full': 507,
  'table.full': 507,
  'store.locked': 409,
  'store.unavailable': 503,
  'token.expired': 401,
  'thread.ended': 503,
  'tls.certificate-invalid': 500,
  'tls.certificate-unreadable': 500,
  'tls.client-ca-invalid': 400,
  'tls.unsuitable': 400,
  'token.not-found': 404,
  'token.scope-missing': 403,
  'internal': 500,
  'plane.unavailable': 400,
  'redis.backup-damaged': 500,
  'redis.backup-missing': 404,
  'redis.backup-store': 502,
  'redis.backup-unfinished': 409,
  'redis.backups-full': 409,
  'redis.copy-failed': 502,
  'redis.crashed': 503,
  'redis.disk-full': 507,
  'redis.import-refused': 400,
  'redis.import-running': 409,
  'redis.import-unknown': 404,
  'redis.importing': 503,
  'redis.loading': 503,
  'redis.limits-forbidden': 403,
  'redis.locked': 503,
  'redis.missing': 501,
  'redis.not-answering': 503,
  'redis.path-too-long': 400,
  'redis.starting': 503,
  'redis.stopped': 503,
  'redis.restoring': 503,
  'redis.source-not-allowed': 403,
  'redis.too-old': 501,
  'redis.user-exists': 409,
  'redis.user-rules': 400,
  'redis.user-unknown': 404,
  'redis.users-full': 409,
  'replica.syncing': 503,
  'service.unsupported': 501,
  'hop.dial-failed': 502,
  'hop.protocol': 502,
  'hop.timeout': 504,
  'node.endpoint-invalid': 400,
  'proxy-header.invalid': 400,
  'proxy-header.too-long': 400,
  'receiver.unreachable': 502,
  'wireguard.key-invalid': 400,
  'wireguard.key-taken': 409,
  'wireguard.path-unavailable': 501,
  'wireguard.peer-not-found': 404,
  'wireguard.tun-unavailable': 501,
} as const satisfies Record<string, number>

export type ErrorCode = keyof typeof CODES

/** Who has to act: the one who asked, this program, or the peer behind it. */
export type ErrorSide = 'client' | 'self' | 'upstream'

export interface ErrorOptions {
  readonly side?: ErrorSide
  /** True when the same request may succeed later without being changed. */
  readonly retryable?: boolean
  readonly cause?: unknown
}

/** `message` is one sentence that tells its reader what to do next; it never holds a secret. */
export class NearcastError extends Error {
  readonly code: ErrorCode
  readonly side: ErrorSide
  readonly retryable: boolean

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'NearcastError'
    this.code = code
    this.side = options.side ?? 'self'
    this.retryable = options.retryable ?? false
  }

  get status(): number {
    return CODES[this.code]
  }
}

/** Anything thrown, as a NearcastError: foreign errors become `internal` and keep their cause. */
export function asNearcastError(error: unknown): NearcastError {
  if (error instanceof NearcastError) return error
  const message = error instanceof Error ? error.message : String(error)
  return new NearcastError('internal', message, { cause: error })
}
