/** The API's description: valid OpenAPI, of every route, the same in docs/openapi.json; and the version in it is true. */
import { readFileSync } from 'node:fs'
import { Validator } from '@seriousme/openapi-schema-validator'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { VERSION } from '../../lib/version.ts'
import { routerConfig } from '../../router/config.ts'
import { MAX_BODY_BYTES } from '../../router/registry/api/http.ts'
import { openApi } from '../../router/registry/api/openapi.ts'
import type { TestRegistry } from '../support/registry.ts'
import { startRegistry } from '../support/registry.ts'

const root = new URL('../../', import.meta.url)
let registry: TestRegistry
beforeAll(async () => {
  registry = await startRegistry()
})
afterAll(() => registry.remove())

const operation = z.looseObject({ operationId: z.string(), summary: z.string(), responses: z.record(z.string(), z.looseObject({})) })
const description = z.looseObject({ paths: z.record(z.string(), z.record(z.string(), operation)), components: z.looseObject({ schemas: z.record(z.string(), z.unknown()) }) })

async function served(): Promise<z.infer<typeof description>> {
  const response = await fetch(`${registry.url}/v1/openapi.json`)
  expect(response.status).toBe(200)
  return description.parse(await response.json())
}

test('is valid OpenAPI 3.1, and says nothing twice', async () => {
  const document = await served()
  const result = await new Validator().validate(structuredClone(document))
  expect(result).toMatchObject({ valid: true })
  const operations = Object.values(document.paths).flatMap((path) => Object.values(path))
  const ids = operations.map(({ operationId }) => operationId)
  expect(new Set(ids).size).toBe(ids.length)
  for (const { summary } of operations) expect(summary).toMatch(/^[A-Z].{5,120}[^.]$/)
  const references = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(([, name = '']) => name)
  expect([...new Set(references)].toSorted()).toEqual(Object.keys(document.components.schemas).toSorted())
})

test('describes every route', async () => {
  const { paths } = await served()
  const described = Object.entries(paths).flatMap(([path, methods]) => Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`))
  expect(described.toSorted()).toEqual(registry.routes.map((route) => `${route.method} ${route.path}`).toSorted())
})

test('docs/openapi.json is current', () => {
  const { api } = routerConfig.parse({ stateDir: '/' })
  const current = openApi(registry.routes, VERSION, { rate: { perSecond: api.ratePerSecond, burst: api.burst }, maxBodyBytes: MAX_BODY_BYTES })
  const written: unknown = JSON.parse(readFileSync(new URL('docs/openapi.json', root), 'utf8'))
  expect(written, 'run "npm run openapi"').toEqual(JSON.parse(JSON.stringify(current)))
})

test('the version is the package\'s', () => {
  expect(z.object({ version: z.string() }).parse(JSON.parse(readFileSync(new URL('package.json', root), 'utf8')))).toEqual({ version: VERSION })
})
