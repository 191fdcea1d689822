/** The operator's first token: given by the starter, or made here once and written to a file that only its owner reads. */
import { rmSync } from 'node:fs'
import type { RouterConfig } from './config.ts'
import { putBootstrapToken } from './registry/objects/tokens.ts'
import type { Registry } from './registry/registry.ts'
import { writeSecret } from './registry/trust/key-file.ts'
import { BOOTSTRAP_TOKEN_ID, newApiToken } from './registry/trust/secret-token.ts'

export function bootstrapToken(registry: Registry, config: RouterConfig): void {
  const { store, clock } = registry
  const given = config.bootstrapToken
  if (given === undefined && store.get('tokens', BOOTSTRAP_TOKEN_ID) !== null) return
  const token = given ?? newApiToken(BOOTSTRAP_TOKEN_ID)
  if (given === undefined) {
    // A file without a record is from a start that was cut off in between: its token never counted.
    rmSync(config.bootstrapTokenFile, { force: true })
    writeSecret(config.bootstrapTokenFile, `${token}\n`)
  }
  store.write({ who: 'router', what: 'token.bootstrap' }, (transaction) => putBootstrapToken(transaction, token, clock))
}
