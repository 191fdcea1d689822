/**
 * The users of an engine. Redis checks them itself, in scripts and functions too, whatever way a command came in.
 *
 *   default               the tenant: everything but what reaches outside of its data, stops the engine, changes its
 *                         configuration or users, or disturbs the agent's and the replicas' connections
 *   others                by the tenant's own rules, within the same bounds (engine/users.ts)
 *   nearcast-replication  replicas of the same database on other nodes
 *   nearcast-agent        this agent; its password lives as long as the engine's process
 */
import { createHash } from 'node:crypto'

export const REPLICATION_USER = 'nearcast-replication'
export const AGENT_USER = 'nearcast-agent'
const TRIAL_USER = 'nearcast-trial'

/** Denied to tenants, each with its reason. Names exist since Redis 7.0 and in Valkey: an unknown one stops the engine. */
export const DENIED_COMMANDS: readonly string[] = [
  // Configuration, code and memory of the process.
  'config', 'debug', 'module', 'pfdebug', 'pfselftest',
  // The process's life and its files: the agent decides when they are written.
  'shutdown', 'save', 'bgsave', 'bgrewriteaof',
  // A debugged script is a fork of the whole process, as many as one likes, each alive as long as its client.
  'script|debug',
  // Replication and clusters: the feed decides who copies whom. MIGRATE opens connections to any address.
  'replicaof', 'slaveof', 'sync', 'psync', 'replconf', 'failover', 'cluster', 'migrate',
  // One database is what was given out; SWAPDB also exchanges it under open connections.
  'swapdb',
  // Connections of the agent and of replicas.
  'client|kill', 'client|list', 'client|pause', 'client|unpause', 'client|no-evict',
  // Users, their password hashes and what they tried.
  'acl',
]
/** Harmless parts of what is denied above. */
export const ALLOWED_AGAIN: readonly string[] = ['acl|whoami', 'acl|cat', 'acl|genpass']

const AGENT_COMMANDS: readonly string[] = [
  'ping', 'info', 'command', 'slowlog|get', 'latency|histogram', 'script|kill', 'function|kill', 'config|set', 'bgrewriteaof', 'acl|setuser', 'acl|deluser', 'acl|users', 'replicaof', 'role', 'client|id', 'client|list', 'client|kill',
  // Samples after an import are compared by their lengths; nothing of their contents is read.
  'randomkey', 'type', 'exists', 'strlen', 'llen', 'hlen', 'scard', 'zcard', 'xlen',
  // An import from where PSYNC is denied.
  'select', 'flushall', 'restore',
]
/** What `default` may, but for what is denied to all. */
const EVERYTHING: readonly string[] = ['~*', '&*', '+@all']

/** Rules, for a `user` line of the configuration and for ACL SETUSER alike. `rules`: a further user's own. */
export function tenantRules(passwordSha256: string, rules = EVERYTHING): string[] {
  return ['reset', 'on', `#${passwordSha256}`, ...bounded(rules)]
}

/** A user that exists only to see whether the engine knows its rules; it can't log in. */
export function trialCommands(rules: readonly string[]): string[][] {
  return [
    ['ACL', 'SETUSER', TRIAL_USER, 'reset', ...bounded(rules)],
    ['ACL', 'DELUSER', TRIAL_USER],
  ]
}

/** What is denied comes last: no rule before it allows it. */
function bounded(rules: readonly string[]): string[] {
  return [...rules, ...DENIED_COMMANDS.map((name) => `-${name}`), ...ALLOWED_AGAIN.map((name) => `+${name}`)]
}

export function replicationRules(secret: string): string[] {
  return ['reset', 'on', `#${sha256(secret)}`, '+psync', '+replconf', '+ping']
}

export function agentRules(password: string): string[] {
  return ['reset', 'on', `#${sha256(password)}`, '~*', ...AGENT_COMMANDS.map((name) => `+${name}`)]
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
