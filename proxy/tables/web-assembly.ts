/**
 * What this folder needs of WebAssembly, which isn't part of the language's own types.
 */
export interface Memory {
  readonly buffer: ArrayBuffer | SharedArrayBuffer
}

interface WebAssemblyApi {
  readonly Memory: new (descriptor: { readonly initial: number; readonly maximum: number; readonly shared: true }) => Memory
  readonly Module: new (code: Uint8Array) => object
  readonly Instance: new (module: object, imports: Readonly<Record<string, Readonly<Record<string, Memory>>>>) => { readonly exports: unknown }
}

export const webAssembly = (globalThis as unknown as { readonly WebAssembly: WebAssemblyApi }).WebAssembly
export const PAGE_BYTES = 65_536
