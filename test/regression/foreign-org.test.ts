/** Another's organization answered in other words than one that doesn't exist: a member could find out who else is a customer. */
import { expect, test } from 'vitest'
import { startRegistry } from '../support/registry.ts'

test("another's organization and none differ in nothing but the name that was asked for", async () => {
  const registry = await startRegistry()
  try {
    for (const name of ['acme', 'globex']) await registry.made('/v1/orgs', { name })
    const { token } = await registry.made('/v1/tokens', { name: 'member', role: 'member', org: 'acme' })
    const ask = async (org: string): Promise<string> => {
      const { status, body } = await registry.call('GET', `/v1/orgs/${org}/networks`, undefined, String(token))
      return `${status} ${JSON.stringify(body).replaceAll(org, '<name>')}`
    }
    expect(await ask('acme')).toContain('200')
    expect(await ask('globex')).toBe(await ask('nobody'))
  } finally {
    await registry.remove()
  }
})
