/** `npm run demo`, as a user runs it: every step of the story holds. */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import t from 'tap'
import { AS_USER, ROOT, eventually, finish } from '../support/cluster.ts'
import { mentioning } from '../support/processes.ts'

interface Report {
  readonly ok: boolean
  readonly steps: readonly { readonly name: string; readonly ok: boolean; readonly ms: number; readonly error?: string; readonly skipped?: string }[]
}

const STEPS = [
  'start', 'links', 'create', 'redis-idle', 'set-get', 'replica-readonly', 'outside', 'explain', 'wall-foreign', 'wall-kernel', 'two-tenants', 'postgres', 'redis-access', 'redis-backup', 'redis-import', 'redis-limits', 'wireguard', 'backbone',
  'agent-stopped', 'agent-paused', 'node-blackholed', 'tenant-crash-loop', 'link-delay', 'kill-under-load', 'redis-woken',
]

/** Beside other tests, on a machine that may be slow: a demo that still moves is let be. */
const DEADLINE_MS = 300_000

const startedMs = performance.now()
/** Everything that the demo starts inherits it. */
const mark = `NEARCAST_TEST_MARK=${randomBytes(8).toString('hex')}`
const child = spawn('env', [...AS_USER, mark, 'npm', 'run', 'demo', '--', '--json'], { cwd: ROOT, stdio: ['pipe', 'pipe', 'pipe'] })
const { code, stdout, stderr } = await finish(child, '', DEADLINE_MS)
t.comment(`${((performance.now() - startedMs) / 1000).toFixed(1)} s`)

const last = stdout.trim().split('\n').at(-1) ?? ''
const report = (last.startsWith('{') ? JSON.parse(last) : { ok: false, steps: [] }) as Report
for (const { name, ok, ms, error, skipped } of report.steps) {
  t.ok(ok, `${name} (${Math.round(ms)} ms)${error === undefined ? '' : `: ${error}`}`, skipped === undefined ? {} : { skip: skipped })
}
t.same(STEPS.filter((name) => !report.steps.some((step) => step.name === name)), [], 'no step is missing')
t.equal(report.ok, true, 'the story holds')
t.equal(code, 0, 'exit code')
await eventually('nothing of it runs', () => mentioning(mark).length === 0, () => JSON.stringify(mentioning(mark)))
t.same(mentioning(mark), [], 'nothing of it runs')
if (!t.passing()) t.comment(stderr.slice(-6000))
