/**
 * Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s (https://noiseprotocol.org/noise.html, revision 34): the two messages that make a
 * session, for both roles. Pure: ephemeral keys are given by the caller.
 *
 *   <- s
 *   -> e, es, s, ss     ephemeral, sealed static key, sealed payload
 *   <- e, ee, se, psk   ephemeral, sealed payload
 *
 * A message that doesn't open changes nothing: readers work on a copy of the state. States are wiped after their use.
 */
import { blake2s } from './blake2s.ts'
import { openOnce, sealOnce, ZERO_NONCE } from './aead.ts'
import { BLAKE2S_BLOCK_BYTES, BLAKE2S_BYTES, KEY_BYTES } from './constants.ts'
import type { KeyPair } from './keys.ts'
import { PublicKey } from './keys.ts'

const CONSTRUCTION = Buffer.from('Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s')
export const WIREGUARD_PROLOGUE: Uint8Array = Buffer.from('WireGuard v1 zx2c4 Jason@zx2c4.com')
/** The name is longer than a hash, so its hash stands for it. */
const INITIAL = blake2s(BLAKE2S_BYTES, null, CONSTRUCTION)
const EMPTY = new Uint8Array(0)

type Bytes = Uint8Array<ArrayBuffer>

function hash(...parts: readonly Uint8Array[]): Bytes {
  return blake2s(BLAKE2S_BYTES, null, ...parts)
}

/** RFC 2104. `key` up to 64 bytes. */
export function hmac(key: Uint8Array, ...parts: readonly Uint8Array[]): Bytes {
  const inner = new Uint8Array(BLAKE2S_BLOCK_BYTES).fill(0x36)
  const outer = new Uint8Array(BLAKE2S_BLOCK_BYTES).fill(0x5c)
  for (const [index, byte] of key.entries()) {
    inner[index] = byte ^ 0x36
    outer[index] = byte ^ 0x5c
  }
  const output = hash(outer, hash(inner, ...parts))
  inner.fill(0)
  outer.fill(0)
  return output
}

/** Section 4.3, HKDF: up to three outputs of 32 bytes. */
function derive(chainingKey: Uint8Array, input: Uint8Array, count: 2 | 3): Bytes[] {
  const temporary = hmac(chainingKey, input)
  const outputs: Bytes[] = []
  for (let index = 1; index <= count; index++) outputs.push(hmac(temporary, outputs.at(-1) ?? EMPTY, Uint8Array.of(index)))
  temporary.fill(0)
  return outputs
}

/** Section 5.2, the symmetric state. Within one message every key is used once, so the nonce is always 0. */
export class NoiseState {
  #chainingKey: Bytes
  #hash: Bytes
  #key: Bytes = new Uint8Array(0)

  private constructor(chainingKey: Bytes, transcript: Bytes) {
    this.#chainingKey = chainingKey
    this.#hash = transcript
  }

  static start(prologue: Uint8Array, responder: PublicKey): NoiseState {
    return new NoiseState(Uint8Array.from(INITIAL), hash(hash(INITIAL, prologue), responder.bytes))
  }

  copy(): NoiseState {
    return new NoiseState(Uint8Array.from(this.#chainingKey), this.#hash)
  }

  mixHash(data: Uint8Array): void {
    this.#hash = hash(this.#hash, data)
  }

  mixKey(input: Uint8Array): void {
    this.#take(derive(this.#chainingKey, input, 2))
  }

  mixKeyAndHash(input: Uint8Array): void {
    const [chainingKey = EMPTY, transcript = EMPTY, key = EMPTY] = derive(this.#chainingKey, input, 3)
    this.#take([chainingKey, key])
    this.mixHash(transcript)
  }

  /** An ephemeral key, which a handshake with a preshared key mixes in as a key, too. */
  mixEphemeral(ephemeral: Uint8Array): void {
    this.mixHash(ephemeral)
    this.mixKey(ephemeral)
  }

  /** @returns false when the keys agree on nothing. */
  mixAgreement(pair: KeyPair, other: PublicKey): boolean {
    return this.mixShared(pair.agree(other))
  }

  /** Zeroes `shared`. */
  mixShared(shared: Uint8Array | null): boolean {
    if (shared === null) return false
    this.mixKey(shared)
    shared.fill(0)
    return true
  }

  seal(plain: Uint8Array): Bytes {
    const sealed = sealOnce(this.#key, ZERO_NONCE, plain, this.#hash)
    this.mixHash(sealed)
    return sealed
  }

  open(sealed: Uint8Array): Bytes | null {
    const plain = openOnce(this.#key, ZERO_NONCE, sealed, this.#hash)
    if (plain !== null) this.mixHash(sealed)
    return plain
  }

  /** The keys of the session, the initiator's for sending first. */
  split(): { readonly fromInitiator: Bytes; readonly fromResponder: Bytes } {
    const [fromInitiator = EMPTY, fromResponder = EMPTY] = derive(this.#chainingKey, EMPTY, 2)
    return { fromInitiator, fromResponder }
  }

  wipe(): void {
    this.#chainingKey.fill(0)
    this.#key.fill(0)
  }

  #take([chainingKey = EMPTY, key = EMPTY]: Bytes[]): void {
    this.wipe()
    this.#chainingKey = chainingKey
    this.#key = key
  }
}

export interface FirstMessage {
  readonly ephemeral: Uint8Array
  /** 48 bytes: the initiator's static key. */
  readonly sealedStatic: Uint8Array
  readonly sealedPayload: Uint8Array
}

export interface SecondMessage {
  readonly ephemeral: Uint8Array
  readonly sealedPayload: Uint8Array
}

export interface SessionKeys {
  readonly sending: Uint8Array
  readonly receiving: Uint8Array
}

export interface Initiator {
  readonly local: KeyPair
  readonly remote: PublicKey
  /** What the two static keys agree on; it is the same for every handshake. A copy is made. */
  readonly shared: Uint8Array
}

/** @returns null when the remote key is none. The state belongs to the caller, with `ephemeral`, until `readSecond`. */
export function writeFirst({ local, remote, shared }: Initiator, ephemeral: KeyPair, payload: Uint8Array, prologue = WIREGUARD_PROLOGUE): { readonly message: FirstMessage; readonly state: NoiseState } | null {
  const state = NoiseState.start(prologue, remote)
  state.mixEphemeral(ephemeral.publicKey.bytes)
  if (!state.mixAgreement(ephemeral, remote)) return null
  const sealedStatic = state.seal(local.publicKey.bytes)
  state.mixShared(Uint8Array.from(shared))
  return { message: { ephemeral: ephemeral.publicKey.bytes, sealedStatic, sealedPayload: state.seal(payload) }, state }
}

/** The first half of reading a first message: who is it? Nothing about that is proven yet. */
export function readStatic(local: KeyPair, message: FirstMessage, prologue = WIREGUARD_PROLOGUE): { readonly claimed: Uint8Array; readonly state: NoiseState } | null {
  const state = NoiseState.start(prologue, local.publicKey)
  state.mixEphemeral(message.ephemeral)
  if (!state.mixAgreement(local, new PublicKey(message.ephemeral))) return null
  const claimed = state.open(message.sealedStatic)
  if (claimed !== null) return { claimed, state }
  state.wipe()
  return null
}

/** The second half, with the agreement of both static keys: @returns the payload, or null for a forged message. */
export function readPayload(state: NoiseState, shared: Uint8Array, message: FirstMessage): Uint8Array | null {
  state.mixShared(Uint8Array.from(shared))
  return state.open(message.sealedPayload)
}

export interface Responder {
  readonly remote: PublicKey
  readonly remoteEphemeral: Uint8Array
  readonly presharedKey: Uint8Array
}

/** Wipes `state`. @returns null when one of the remote keys is none. */
export function writeSecond(state: NoiseState, { remote, remoteEphemeral, presharedKey }: Responder, ephemeral: KeyPair, payload: Uint8Array = EMPTY): { readonly message: SecondMessage; readonly keys: SessionKeys } | null {
  try {
    state.mixEphemeral(ephemeral.publicKey.bytes)
    if (!state.mixAgreement(ephemeral, new PublicKey(remoteEphemeral))) return null
    if (!state.mixAgreement(ephemeral, remote)) return null
    state.mixKeyAndHash(presharedKey)
    const message = { ephemeral: ephemeral.publicKey.bytes, sealedPayload: state.seal(payload) }
    const { fromInitiator, fromResponder } = state.split()
    return { message, keys: { sending: fromResponder, receiving: fromInitiator } }
  } finally {
    state.wipe()
  }
}

/** Leaves `state` as it is, for a better message. @returns null for a forged one. */
export function readSecond(state: NoiseState, local: KeyPair, ephemeral: KeyPair, presharedKey: Uint8Array, message: SecondMessage): { readonly payload: Uint8Array; readonly keys: SessionKeys } | null {
  const trial = state.copy()
  try {
    const remoteEphemeral = new PublicKey(message.ephemeral)
    trial.mixEphemeral(message.ephemeral)
    if (!trial.mixAgreement(ephemeral, remoteEphemeral)) return null
    if (!trial.mixAgreement(local, remoteEphemeral)) return null
    trial.mixKeyAndHash(presharedKey)
    const payload = trial.open(message.sealedPayload)
    if (payload === null) return null
    const { fromInitiator, fromResponder } = trial.split()
    return { payload, keys: { sending: fromInitiator, receiving: fromResponder } }
  } finally {
    trial.wipe()
  }
}

export const NO_PRESHARED_KEY: Uint8Array = new Uint8Array(KEY_BYTES)
