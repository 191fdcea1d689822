/**
 * BLAKE2s by WebAssembly (blake2s.as): what blake2s.ts gives, at a fraction of its cost. For short inputs, which is all that
 * WireGuard has; its memory is wiped after each use.
 */
import type { Blake2s } from './blake2s.ts'
import { BLAKE2S_BLOCK_BYTES } from './constants.ts'
import { instantiate } from './wasm-module.ts'

const DATA = 64
/** Of the key's block and all parts. */
export const MAX_WASM_BLAKE2S_BYTES = 4096

interface Exports {
  readonly memory: { readonly buffer: ArrayBuffer }
  hash(outputBytes: number, keyBytes: number, length: number): void
}

/** `binary`: what `npm run build` makes. Whoever gives it longer input than it takes gets null. @throws where there is no WebAssembly, or none with SIMD */
export function wasmBlake2s(binary: Uint8Array<ArrayBuffer>): Blake2s {
  const instance = instantiate(binary) as Exports
  const memory = new Uint8Array(instance.memory.buffer)
  return (outputBytes, key, parts) => {
    let end = DATA
    if (key !== null) {
      memory.set(key, DATA)
      end += BLAKE2S_BLOCK_BYTES
    }
    for (const part of parts) {
      if (end + part.length > MAX_WASM_BLAKE2S_BYTES) {
        memory.fill(0, 0, end)
        return null
      }
      memory.set(part, end)
      end += part.length
    }
    instance.hash(outputBytes, key?.length ?? 0, end - DATA)
    const output = memory.slice(0, outputBytes)
    memory.fill(0, 0, end)
    return output
  }
}
