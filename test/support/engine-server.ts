/**
 * Which server tests start: redis-server, or what the environment names, like `npm run valkey` does to put the tests of
 * databases on another engine. `SOURCE_SERVER` is what imports come from.
 */
export const ENGINE_SERVER = process.env['NEARCAST_TEST_SERVER'] ?? 'redis-server'
export const SOURCE_SERVER = process.env['NEARCAST_TEST_SOURCE'] ?? 'redis-server'
