/** Writes docs/openapi.json: the description that a router with default limits serves at /v1/openapi.json. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger } from '../lib/log.ts'
import { routerConfig } from '../router/config.ts'
import { MAX_BODY_BYTES } from '../router/registry/api/http.ts'
import { openApi } from '../router/registry/api/openapi.ts'
import { apiRoutes } from '../router/registry/api/routes.ts'
import { openRegistry } from '../router/registry/registry.ts'
import { VERSION } from '../lib/version.ts'

const stateDir = mkdtempSync(join(tmpdir(), 'nearcast-openapi-'))
try {
  const { api, quotas } = routerConfig.parse({ stateDir })
  const registry = await openRegistry({ id: 'main', stateDir, prefix: 0xfdaa, quotas, log: createLogger('router', 'silent') })
  const rate = { perSecond: api.ratePerSecond, burst: api.burst }
  const description = openApi(apiRoutes(registry, rate), VERSION, { rate, maxBodyBytes: MAX_BODY_BYTES })
  writeFileSync(new URL('../docs/openapi.json', import.meta.url), `${JSON.stringify(description, null, 2)}\n`)
  registry.close()
} finally {
  rmSync(stateDir, { recursive: true })
}
