/** What we use of WebAssembly, which TypeScript knows of browsers only. */
interface WebAssemblyApi {
  readonly Module: new (binary: Uint8Array<ArrayBuffer>) => object
  readonly Instance: new (module: object) => { readonly exports: unknown }
}

/** @returns its exports, whose kind whoever compiled it knows. @throws where there is no WebAssembly, or none of what it needs */
export function instantiate(binary: Uint8Array<ArrayBuffer>): unknown {
  const { Instance, Module } = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly
  return new Instance(new Module(binary)).exports
}
