/** The servers that a database may run on. */
export const REDIS_ENGINES = ['redis', 'valkey'] as const
export type RedisEngine = (typeof REDIS_ENGINES)[number]
