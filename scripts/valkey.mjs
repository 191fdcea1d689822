/**
 * `npm run valkey`: the tests of databases, on Valkey; imports come from Redis, and then from Valkey; the differential test and
 * the kills at length. Ends with the first failure.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ensureDependencies, ensurePrograms, pinnedNode } from './prerequisites.mjs'
import { valkeyDirectory } from './unpacked-packages.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
await ensureDependencies()
await ensurePrograms(['redis-server', 'redis-cli', 'nft', 'ip', 'unshare', 'nsenter', 'setpriv'], { optional: true })
const valkey = join(valkeyDirectory(), 'valkey-server')
const PATH = [dirname(pinnedNode()), join(root, 'node_modules/.bin'), process.env.PATH, dirname(valkey)].join(delimiter)
const OF_DATABASES = /^(agent-(?!engine-choice)|backup|hostile-tenants|import|redis-differential|resp-engine)/
const files = readdirSync(join(root, 'test/interop')).filter((file) => OF_DATABASES.test(file)).map((file) => `test/interop/${file}`)

run('vitest', 'run', ...files, 'test/contract/agent-ingress.test.ts')
run('vitest', 'run', 'test/interop/import.test.ts', { NEARCAST_TEST_SOURCE: valkey })
run('node', 'test/differential/long.ts', '--commands', '50000')
for (const fsync of ['always', 'everysec']) run('node', 'test/soak/kills.ts', '--kills', '200', '--fsync', fsync)

function run(program, ...words) {
  const env = typeof words.at(-1) === 'object' ? words.pop() : {}
  console.log(`\n— ${program} ${words.join(' ')}`)
  const { status } = spawnSync(program, words, { cwd: root, stdio: 'inherit', env: { ...process.env, PATH, NEARCAST_TEST_SERVER: valkey, ...env } })
  if (status !== 0) process.exit(status ?? 1)
}
