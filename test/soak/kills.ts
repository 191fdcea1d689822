/**
 * SIGKILL of the agent, the engine, or both after random steps of parking and revival, with random data: what was acknowledged
 * is there.
 *
 *   npm run kills -- [--kills 1000] [--fsync always|everysec] [--seed n]
 *
 * Prints a line per hundred kills and one of JSON in the end; exits 1 when something was lost.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { KillDrill } from '../support/kill-drill.ts'
import { Random, testSeed } from '../support/random.ts'

const { values } = parseArgs({ options: { kills: { type: 'string', default: '1000' }, fsync: { type: 'string', default: 'always' }, seed: { type: 'string' } } })
if (values.seed !== undefined) process.env['NEARCAST_SEED'] = values.seed
const wanted = Number(values.kills)
const dataDir = mkdtempSync(join(tmpdir(), 'nearcast-kills-'))
const drill = new KillDrill({ dataDir, appendFsync: values.fsync === 'everysec' ? 'everysec' : 'always', random: new Random(testSeed('kills')) })
try {
  await drill.begin()
  for (let told = 0; drill.kills < wanted;) {
    await drill.round()
    if (drill.kills < told + 100) continue
    told = drill.kills
    process.stdout.write(`${JSON.stringify(drill.killed)}, ${drill.acknowledged} acknowledged, ${drill.wrong.length} wrong\n`)
  }
  if (!(await drill.bulkIsThere())) drill.wrong.push('the bulk of the keys')
} finally {
  await drill.end()
  rmSync(dataDir, { recursive: true, force: true })
}
process.stdout.write(`${JSON.stringify({ fsync: values.fsync, kills: drill.kills, killed: drill.killed, acknowledged: drill.acknowledged, wrong: drill.wrong })}\n`)
process.exit(drill.wrong.length === 0 ? 0 : 1)
