/** Holds an answer of the API to its description: the schema of the route and status, content type, the headers of refusals. */
import { problemAnswer } from '../../router/registry/api/answers.ts'
import type { Route } from '../../router/registry/api/route.ts'

/** @throws Error, saying where the answer differs. */
export function checkAnswer(routes: readonly Route[], method: string, path: string, response: Response, body: unknown): void {
  const { status, headers } = response
  const said = `${method} ${path} answered ${status}`
  const wanted = status < 400 ? 'application/json' : 'application/problem+json'
  if (headers.get('content-type')?.split(';')[0] !== wanted) throw new Error(`${said} as ${headers.get('content-type')}, not ${wanted}`)
  if (headers.get('cache-control') !== 'no-store') throw new Error(`${said} without cache-control`)
  if (status >= 400) {
    const problem = problemAnswer.parse(body, { error: () => said })
    if (problem.status !== status) throw new Error(`${said}, its body says ${problem.status}`)
    for (const [code, header] of [[401, 'www-authenticate'], [405, 'allow'], [429, 'retry-after'], [503, 'retry-after']] as const) {
      if (status === code && headers.get(header) === null) throw new Error(`${said} without ${header}`)
    }
    return
  }
  const route = routes.find((each) => each.method === method && fits(each.path, path))
  if (route === undefined) throw new Error(`${said}, but there is no such route`)
  if (route.status !== status) throw new Error(`${said}, described as ${route.status}`)
  const result = route.answer.safeParse(body)
  if (!result.success) throw new Error(`${said}, not as described: ${result.error.message}`)
}

function fits(pattern: string, path: string): boolean {
  const [wanted, given] = [pattern.split('/'), (path.split('?')[0] ?? '').split('/')]
  return wanted.length === given.length && wanted.every((part, index) => part.startsWith(':') || part === given[index])
}
