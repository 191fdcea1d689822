/**
 * Compiles what is AssemblyScript in lib/wireguard (`*.as`) to WebAssembly: `node scripts/wasm.mjs dist` is a part of
 * `npm run build`, and writes dist/lib/wireguard/*.wasm.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { main } from 'assemblyscript/asc'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
// The compiler wants the ending .ts, which everything else here takes for TypeScript.
const entry = 'entry.ts'
// Everything stands at fixed places below 70000; two pages, which never grow.
const options = ['--outFile', 'entry.wasm', '--enable', 'simd', '--runtime', 'stub', '-O3', '--noAssert', '--initialMemory', '2', '--maximumMemory', '2', '--memoryBase', '70000']

for (const name of ['chacha20-poly1305', 'blake2s']) {
  const target = join(process.argv[2] ?? 'dist', 'lib/wireguard', `${name}.wasm`)
  let complaints = ''
  const { error } = await main([entry, ...options], {
    readFile: (file) => (file === entry ? readFileSync(join(root, 'lib/wireguard', `${name}.as`), 'utf8') : null),
    writeFile: (_file, contents) => {
      mkdirSync(dirname(target), { recursive: true })
      writeFileSync(target, contents)
    },
    listFiles: () => [],
    stderr: {
      write: (text) => {
        complaints += text
      },
    },
  })
  if (error) {
    console.error(complaints)
    throw error
  }
}
