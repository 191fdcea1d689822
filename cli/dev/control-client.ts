/** A command's end of the control socket. */
import { readFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { z } from 'zod'
import { NearcastError } from '../../lib/errors.ts'
import type { ErrorCode } from '../../lib/errors.ts'
import type { ControlAnswer, ControlRequest } from './control-protocol.ts'
import { MAX_LINE_BYTES, clustersAmong, controlSocket, isSameUser } from './control-protocol.ts'

const ANSWER_TIMEOUT_MS = 30_000

/** What `info` answers. */
export const clusterInfo = z.object({
  cluster: z.string(),
  api: z.string(),
  token: z.string(),
  /** State of the router's program. */
  router: z.string(),
  insidePid: z.number(),
  forwardPort: z.number(),
  /** PEM of the CA of the proxies' certificates. */
  edgeCa: z.string(),
  regions: z.array(z.object({ id: z.string(), hosts: z.array(z.string()) })),
  appHosts: z.array(z.object({ id: z.string(), org: z.string(), orgId: z.string(), region: z.string(), host: z.string(), address: z.string() })),
})
export type ClusterInfo = z.infer<typeof clusterInfo>

/** What `status` answers. */
export const clusterStatus = z.object({
  programs: z.array(z.object({ id: z.string(), state: z.string(), pid: z.number().nullable(), restarts: z.number() })),
  links: z.array(z.object({ id: z.string(), rttMs: z.number(), dropping: z.boolean() })),
  faults: z.object({ crashLoops: z.array(z.string()), blackholes: z.array(z.string()) }),
})

/** @throws NearcastError dev.not-running, or what the cluster answers. */
export async function askCluster<Schema extends z.ZodType>(cluster: string, request: ControlRequest, schema: Schema): Promise<z.infer<Schema>> {
  const answer = JSON.parse(await exchange(cluster, JSON.stringify(request))) as ControlAnswer
  if (!answer.ok) throw new NearcastError(answer.code as ErrorCode, answer.message)
  const result = schema.safeParse(answer.result)
  if (!result.success) throw new NearcastError('dev.failed', 'The cluster answered in a form that this version does not know; start it again.')
  return result.data
}

function notRunning(cluster: string): string {
  const others = runningClusters()
  const advice = others.length === 0 ? 'start one with "npm start", or set NEARCAST_API and NEARCAST_TOKEN' : `${others.join(' and ')} ${others.length === 1 ? 'does' : 'do'}: set NEARCAST_CLUSTER=${others[0]}, or give --cluster ${others[0]}`
  return `No cluster named "${cluster}" runs for this user; ${advice}.`
}

function runningClusters(): string[] {
  try {
    return clustersAmong(readFileSync('/proc/net/unix', 'latin1'))
  } catch {
    return []
  }
}

function exchange(cluster: string, line: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (message: string): void => {
      socket.destroy()
      reject(new NearcastError('dev.not-running', message))
    }
    const socket = createConnection(controlSocket(cluster))
    let text = ''
    socket.setEncoding('utf8')
    socket.setTimeout(ANSWER_TIMEOUT_MS, () => fail(`The cluster "${cluster}" doesn't answer.`))
    socket.on('connect', () => {
      if (isSameUser(socket)) socket.write(`${line}\n`)
      else fail(`The cluster "${cluster}" isn't yours.`)
    })
    socket.on('data', (data: string) => {
      text += data
      if (text.length > MAX_LINE_BYTES) fail('The cluster answered too much.')
    })
    socket.on('error', () => fail(notRunning(cluster)))
    socket.on('end', () => {
      if (text.endsWith('\n')) resolve(text)
      else fail(`The cluster "${cluster}" ended.`)
    })
  })
}
