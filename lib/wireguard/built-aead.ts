/**
 * The fastest cipher that is there: WebAssembly where it has been built (the package; `npm run build`), Node's otherwise
 * (a checkout that runs from its sources).
 */
import { readFileSync } from 'node:fs'
import { nodeAead } from './aead.ts'
import type { AeadFactory } from './aead.ts'
import { wasmAead } from './wasm-aead.ts'

export interface BuiltAead {
  readonly kind: 'wasm' | 'node'
  readonly aead: AeadFactory
}

let chosen: BuiltAead | null = null

/** The same one each time. */
export function builtAead(): BuiltAead {
  chosen ??= choose()
  return chosen
}

function choose(): BuiltAead {
  try {
    return { kind: 'wasm', aead: wasmAead(new Uint8Array(readFileSync(new URL('./chacha20-poly1305.wasm', import.meta.url)))) }
  } catch {
    return { kind: 'node', aead: nodeAead }
  }
}
