/** Many peers on one gateway; `npm run soak:wireguard -- peers` is the same with 10,000. */
import { expect, test } from 'vitest'
import { GatewayCrowd } from '../support/gateway-crowd.ts'
import { Random, testSeed } from '../support/random.ts'

const PEERS = 200

test(`${PEERS} peers of many networks come, talk, are forgotten in silence, and come again`, async () => {
  const random = new Random(testSeed('gateway-crowd'))
  const crowd = await GatewayCrowd.open(PEERS, random)
  const everybody = Array.from({ length: PEERS }, (_, index) => index)
  expect(crowd.state.peers).toMatchObject({ known: PEERS, installed: 0 })
  expect(everybody.filter((index) => !crowd.talk(index))).toEqual([])
  expect(crowd.state.peers.installed).toBe(PEERS)
  for (let round = 0; round < 1000; round++) expect(crowd.talk(random.below(PEERS))).toBe(true)
  crowd.pass(1_500_000)
  expect(crowd.state.peers.installed).toBe(0)
  expect(everybody.slice(0, 50).filter((index) => !crowd.talk(index))).toEqual([])
  expect(crowd.state.peers.installed).toBe(50)
  await crowd.close()
})
