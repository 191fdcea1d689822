/**
 * What can be set in agent.toml, with every default. nearcast.example.toml is the manual; this is its law.
 */
import { z } from 'zod'
import { LOG_LEVELS } from '../lib/log.ts'
import { WANTED_PLANES } from '../lib/plane/wanted.ts'
import { isEntry } from './backends/allow-list.ts'
import { isBucketUrl } from './redis/copies/s3-bucket.ts'

/** Node ids and host names of the cluster: they end up in certificates and file names. */
const id = z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/, 'lower case letters, digits and dashes, at most 40')
/** Unix socket paths end at 107 bytes (sun_path). */
const socketPath = z.string().min(1).refine((path) => Buffer.byteLength(path) <= 107, 'a Unix socket path has at most 107 bytes')
const milliseconds = (value: number) => z.int().min(1).max(600_000).default(value)

export const agentConfig = z.strictObject({
  /** This data node's id; the identity is agent/<id>. */
  id,
  /** The machine it runs on: a proxy with the same `host` uses the Unix socket. */
  host: id,
  region: id,
  /** Identity, the feed's cache. Made 0700. */
  stateDir: z.string().min(1),
  /** One directory per database; `removed/` keeps those of deleted ones until an operator deletes them. */
  dataDir: z.string().min(1),
  /** https://[address]:port */
  router: z.url(),
  joinTokenFile: z.string().min(1).optional(),
  /** Who moves the bytes: `portable` is Node's sockets, and what `auto` takes; `uring` is the kernel's io_uring. */
  plane: z.enum(WANTED_PLANES).default('auto'),
  hop: z
    .strictObject({
      /** Mutual TLS. */
      listen: z.string().default('[::]:7400'),
      /** For proxies on this host. Without it they use TLS too. */
      socket: socketPath.optional(),
      /** What others dial; default: `listen` when that names an address. */
      advertise: z.string().optional(),
      /** Uids, beside root and our own, that may connect to `socket`. */
      allowedUids: z.array(z.int().min(0)).max(64).default([]),
      /** Time for a whole opening header. At least 3 s in real life: one lost packet costs more than 1 s. */
      headerTimeoutMs: milliseconds(5000),
      maxConnections: z.int().min(1).max(1_000_000).default(10_000),
    })
    .prefault({}),
  redis: z
    .strictObject({
      /** redis-server or valkey-server, 7.0 or newer: a name in PATH, or a path. */
      server: z.string().min(1).optional(),
      /** For databases that ask for Redis or for Valkey by name: a name in PATH, or a path. */
      redisServer: z.string().min(1).default('redis-server'),
      valkeyServer: z.string().min(1).default('valkey-server'),
      /** From start to PONG before a database counts as failed in the feed's acknowledgement. It goes on starting. */
      startTimeoutMs: milliseconds(4000),
      /** How long a client's connection waits for an engine that is just starting. */
      readyTimeoutMs: milliseconds(1000),
      /** PING every so often; without an answer for as long again, the database is unavailable. */
      healthIntervalMs: milliseconds(1000),
      /** An engine that hasn't answered for so long is killed and started again; what it acknowledged is in its file. */
      silentTimeoutMs: milliseconds(60_000),
      backoffMinMs: milliseconds(100),
      backoffMaxMs: milliseconds(10_000),
      /** SIGTERM to SIGKILL. */
      stopTimeoutMs: milliseconds(3000),
      /**
       * Engines go on when this agent is killed or ends by SIGTERM, and the next agent takes them over; SIGINT ends them. false: the
       * kernel ends them with the agent.
       */
      outliveAgent: z.boolean().default(true),
      /** Engines that may fork at a time (to write their file anew, for a replica's first copy, for a backup), memory permitting. */
      forksAtOnce: z.int().min(1).max(1000).default(2),
      /** Ends the engine of a database without replicas that had no connection for so long; the next one starts it. 0: never. */
      idleStopMinutes: z.number().min(0).max(525_600).default(0),
      /** Ends the longest unused of them, too, while more engines than this run. 0: as many as there are databases. */
      maxRunning: z.int().min(0).max(1_000_000).default(0),
      /** Where backups lie, sealed; default: `backups` in stateDir. Another disk survives the loss of this one. */
      backupDir: z.string().min(1).optional(),
      /** A bucket that speaks S3, where new backups go instead: `https://host/bucket`, with a prefix behind it or not. */
      backupBucket: z.string().max(1024).refine(isBucketUrl, 'write https://host/bucket or https://host/bucket/prefix; plain HTTP only to this machine').optional(),
      backupRegion: z.string().regex(/^[a-z0-9-]{1,64}$/).default('us-east-1'),
      /** Two words: the id of an access key and its secret. Read at start. */
      backupKeyFile: z.string().min(1).optional(),
      /** Of one request to the bucket; a large backup is many. */
      backupRequestTimeoutMs: milliseconds(60_000),
      /** What imports may be taken from, written as in backends.allow; nothing else is ever dialled. */
      importFrom: z.array(z.string().max(256).refine(isEntry, 'write address:port, address/bits:port or name:port')).max(256).default([]),
      /** Where the agent is root, each database runs under its own uid, from this one on. */
      firstUid: z.int().min(1000).max(0x7fff_0000).default(2_300_000),
      /** A cgroup v2 directory without processes, made where it is missing; each database gets a child of it: memory and process limits, shares of processor and disk by its plan. */
      cgroup: z.string().min(1).optional(),
    })
    .prefault({}),
  /** What services of kind tcp and postgres are handed on to. */
  backends: z
    .strictObject({
      /** `unix:/run/postgresql/*`, `127.0.0.1:5432`, `[fd00::]/8:5432`, `10.0.0.0/8:*`, `db.internal:5432`; nothing else is ever dialled. */
      allow: z.array(z.string().max(256).refine(isEntry, 'write unix:/path, address:port, address/bits:port or name:port')).max(256).default([]),
      /** Between two checks of a backend. */
      checkIntervalMs: milliseconds(2000),
      checkTimeoutMs: milliseconds(1000),
    })
    .prefault({}),
  admin: z.strictObject({ listen: z.string().default('127.0.0.1:7401') }).prefault({}),
  log: z.strictObject({ level: z.enum(LOG_LEVELS).default('info') }).prefault({}),
})

export type AgentConfig = z.infer<typeof agentConfig>
