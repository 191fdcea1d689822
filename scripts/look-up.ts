/**
 * Compiles proxy/tables/look-up.wat to WebAssembly and writes it as look-up-code.ts, so that a checkout runs from its
 * sources. Run it after a change of the former; test/unit/route-table.test.ts compares.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import binaryen from 'binaryen'

const source = new URL('../proxy/tables/look-up.wat', import.meta.url)
const target = new URL('../proxy/tables/look-up-code.ts', import.meta.url)

export function lookUpCode(): string {
  const module = binaryen.parseText(readFileSync(source, 'utf8'))
  module.setFeatures(binaryen.Features.Atomics | binaryen.Features.MultiMemory)
  if (module.validate() !== 1) throw new Error('look-up.wat is not valid')
  binaryen.setOptimizeLevel(3)
  module.optimize()
  const lines = Buffer.from(module.emitBinary()).toString('base64').match(/.{1,120}/g) ?? []
  module.dispose()
  return `/**
 * look-up.wat, compiled by \`node scripts/look-up.ts\`: not written by hand.
 */
export const LOOK_UP_CODE =
${lines.map((line) => `  '${line}'`).join(' +\n')}
`
}

if (import.meta.main) writeFileSync(target, lookUpCode())
