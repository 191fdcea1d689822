/** The fastest BLAKE2s that is there: WebAssembly where it has been built (the package; `npm run build`), ours in TypeScript otherwise. */
import { readFileSync } from 'node:fs'
import { preferBlake2s } from './blake2s.ts'
import { wasmBlake2s } from './wasm-blake2s.ts'

let used: 'wasm' | 'typescript' | null = null

/** For this thread, once. @returns which one it is */
export function useBuiltBlake2s(): 'wasm' | 'typescript' {
  used ??= prefer()
  return used
}

function prefer(): 'wasm' | 'typescript' {
  try {
    preferBlake2s(wasmBlake2s(new Uint8Array(readFileSync(new URL('./blake2s.wasm', import.meta.url)))))
    return 'wasm'
  } catch {
    return 'typescript'
  }
}
