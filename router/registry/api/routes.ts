/** All routes of the API, and the one that describes them. */
import type { z } from 'zod'
import { VERSION } from '../../../lib/version.ts'
import type { Registry } from '../registry.ts'
import { openApiAnswer } from './answers.ts'
import { MAX_BODY_BYTES } from './http.ts'
import { openApi } from './openapi.ts'
import { operatorRoutes } from './operator-routes.ts'
import { orgRoutes } from './org-routes.ts'
import type { Rate } from './rate-limit.ts'
import type { Route } from './route.ts'
import { route } from './route.ts'

export function apiRoutes(registry: Registry, rate: Rate): Route[] {
  const routes = [...operatorRoutes(registry), ...orgRoutes(registry)]
  let description: z.input<typeof openApiAnswer> | undefined
  routes.push(
    route({
      method: 'GET',
      path: '/v1/openapi.json',
      access: 'public',
      summary: 'This description',
      answer: openApiAnswer,
      handle: () => (description ??= openApiAnswer.parse(openApi(routes, VERSION, { rate, maxBodyBytes: MAX_BODY_BYTES }))),
    }),
  )
  return routes
}
