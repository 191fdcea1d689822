/** The cryptography of lib/wireguard against published vectors, Node's own, and @noble. */
import { createHash, createHmac, diffieHellman, generateKeyPairSync } from 'node:crypto'
import { blake2s as nobleBlake2s } from '@noble/hashes/blake2.js'
import { chacha20poly1305, xchacha20poly1305 } from '@noble/ciphers/chacha.js'
import { expect, test } from 'vitest'
import { nodeAead, openOnce, sealOnce } from '../../lib/wireguard/aead.ts'
import { blake2s } from '../../lib/wireguard/blake2s.ts'
import { clampPrivate, decodeKey, encodeKey, KeyPair, PublicKey } from '../../lib/wireguard/keys.ts'
import { hmac, readPayload, readSecond, readStatic, writeFirst, writeSecond } from '../../lib/wireguard/noise.ts'
import { hChaCha20, xOpen, xSeal } from '../../lib/wireguard/xchacha.ts'
import { Random, testSeed } from '../support/random.ts'
import { NOISE_IKPSK2 } from '../vectors/noise-ikpsk2.ts'

const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'))
const hex = (value: Uint8Array): string => Buffer.from(value).toString('hex')
const random = new Random(testSeed('wireguard-crypto'))

test('BLAKE2s: RFC 7693, appendix B', () => {
  expect(hex(blake2s(32, null, Buffer.from('abc')))).toBe('508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982')
})

test('BLAKE2s: plain as Node does it, keyed and short as @noble does it, whatever the parts', () => {
  for (let round = 0; round < 300; round++) {
    const input = random.bytes(random.below(260))
    const cut = random.below(input.length + 1)
    expect(hex(blake2s(32, null, input.subarray(0, cut), input.subarray(cut)))).toBe(createHash('blake2s256').update(input).digest('hex'))
    const key = random.bytes(1 + random.below(32))
    const dkLen = 1 + random.below(32)
    expect(hex(blake2s(dkLen, key, input.subarray(0, cut), input.subarray(cut)))).toBe(hex(nobleBlake2s(input, { key, dkLen })))
    expect(hex(hmac(key, input))).toBe(createHmac('blake2s256', key).update(input).digest('hex'))
  }
  expect(() => blake2s(33, null)).toThrow(RangeError)
  expect(() => blake2s(32, new Uint8Array(33))).toThrow(RangeError)
})

const RFC8439 = {
  key: bytes('808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f'),
  nonce: bytes('070000004041424344454647'),
  beside: bytes('50515253c0c1c2c3c4c5c6c7'),
  plain: Buffer.from("Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it."),
  sealed: 'd31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691',
}

test('ChaCha20-Poly1305: RFC 8439, section 2.8.2', () => {
  const { key, nonce, beside, plain, sealed } = RFC8439
  expect(hex(sealOnce(key, nonce, plain, beside))).toBe(sealed)
  expect(openOnce(key, nonce, bytes(sealed), beside)).toEqual(new Uint8Array(plain))
  expect(openOnce(key, nonce, bytes(sealed), new Uint8Array(12))).toBeNull()
})

test('packets: as @noble seals them, in place, and every changed bit is found', () => {
  for (let round = 0; round < 60; round++) {
    const key = random.bytes(32)
    const counter = round === 0 ? 2 ** 53 - 1 : round === 1 ? 2 ** 32 : random.below(2 ** 31)
    const plain = random.bytes(random.below(1500))
    const nonce = new Uint8Array(12)
    new DataView(nonce.buffer).setBigUint64(4, BigInt(counter), true)
    const aead = nodeAead(key)
    const memory = new Uint8Array(plain.length + 16)
    memory.set(plain)
    aead.seal(counter, memory.subarray(0, plain.length), memory)
    expect(hex(memory)).toBe(hex(chacha20poly1305(key, nonce).encrypt(plain)))
    const target = new Uint8Array(plain.length)
    expect(aead.open(counter, memory, target)).toBe(true)
    expect(hex(target)).toBe(hex(plain))
    expect(aead.open(counter + (counter < 2 ** 40 ? 1 : -1), memory, target)).toBe(false)
    const bit = random.below(memory.length * 8)
    memory[bit >> 3] = (memory[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    expect(aead.open(counter, memory, target)).toBe(false)
    aead.close()
    expect(() => aead.seal(0, plain, memory)).toThrow('zeroed')
  }
  expect(nodeAead(random.bytes(32)).open(0, random.bytes(15), new Uint8Array(0))).toBe(false)
})

test('HChaCha20 and XChaCha20-Poly1305: draft-irtf-cfrg-xchacha-03, sections 2.2.1 and A.3.1, and @noble', () => {
  const key = bytes('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f')
  expect(hex(hChaCha20(key, bytes('000000090000004a0000000031415927')))).toBe('82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc')
  const sealed = xSeal(RFC8439.key, bytes('404142434445464748494a4b4c4d4e4f5051525354555657'), RFC8439.plain, RFC8439.beside)
  expect(hex(sealed).slice(-32)).toBe('c0875924c1c7987947deafd8780acf49')
  for (let round = 0; round < 50; round++) {
    const [xKey, nonce, plain, beside] = [random.bytes(32), random.bytes(24), random.bytes(random.below(80)), random.bytes(random.below(40))]
    const ours = xSeal(xKey, nonce, plain, beside)
    expect(hex(ours)).toBe(hex(xchacha20poly1305(xKey, nonce, beside).encrypt(plain)))
    expect(xOpen(xKey, nonce, ours, beside)).toEqual(plain)
    ours[0] = (ours[0] ?? 0) ^ 1
    expect(xOpen(xKey, nonce, ours, beside)).toBeNull()
  }
})

test('X25519: RFC 7748, section 6.1, Node, and keys of low order', () => {
  const alice = KeyPair.fromPrivate(bytes('77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a'))
  expect(hex(alice.publicKey.bytes)).toBe('8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a')
  const bob = new PublicKey(bytes('de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f'))
  expect(hex(alice.agree(bob) ?? new Uint8Array(0))).toBe('4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742')
  expect(alice.agree(new PublicKey(new Uint8Array(32)))).toBeNull()
  expect(alice.agree(new PublicKey(bytes('ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f')))).toBeNull()
  const own = clampPrivate(random.bytes(32))
  const other = generateKeyPairSync('x25519')
  const pair = KeyPair.fromPrivate(Uint8Array.from(own))
  const otherPublic = new PublicKey(other.publicKey.export({ format: 'der', type: 'spki' }).subarray(12))
  expect(hex(pair.agree(otherPublic) ?? new Uint8Array(0))).toBe(diffieHellman({ privateKey: other.privateKey, publicKey: pair.publicKey.object }).toString('hex'))
})

test('a private key that was given is zeroed; keys as text', () => {
  const given = random.bytes(32)
  KeyPair.fromPrivate(given)
  expect(given).toEqual(new Uint8Array(32))
  const key = random.bytes(32)
  expect(decodeKey(encodeKey(key))).toEqual(key)
  for (const wrong of ['', 'AAAA', `${encodeKey(key)} `, encodeKey(key).replace('=', ''), 'é'.repeat(44)]) {
    expect(() => decodeKey(wrong), wrong).toThrowError(expect.objectContaining({ code: 'wireguard.key-invalid' }))
  }
})

test('Noise_IKpsk2: the published vector, both roles, and the session behind it', () => {
  const v = NOISE_IKPSK2
  const pair = (text: string): KeyPair => KeyPair.fromPrivate(bytes(text))
  const [initiator, responder] = [pair(v.initiatorStatic), pair(v.responderStatic)]
  const prologue = bytes(v.prologue)
  expect(hex(responder.publicKey.bytes)).toBe(v.responderStaticPublic)
  const shared = initiator.agree(responder.publicKey) ?? new Uint8Array(0)
  const ephemeral = pair(v.initiatorEphemeral)
  const first = writeFirst({ local: initiator, remote: responder.publicKey, shared }, ephemeral, bytes(v.messages[0][0]), prologue)
  if (first === null) throw new Error('no first message')
  expect(hex(first.message.ephemeral) + hex(first.message.sealedStatic) + hex(first.message.sealedPayload)).toBe(v.messages[0][1])

  const read = readStatic(responder, first.message, prologue)
  if (read === null) throw new Error('the first message was not read')
  expect(hex(read.claimed)).toBe(hex(initiator.publicKey.bytes))
  expect(hex(readPayload(read.state, shared, first.message) ?? new Uint8Array(0))).toBe(v.messages[0][0])
  const asResponder = { remote: initiator.publicKey, remoteEphemeral: first.message.ephemeral, presharedKey: bytes(v.psk) }
  const second = writeSecond(read.state, asResponder, pair(v.responderEphemeral), bytes(v.messages[1][0]))
  if (second === null) throw new Error('no second message')
  expect(hex(second.message.ephemeral) + hex(second.message.sealedPayload)).toBe(v.messages[1][1])

  const wrong = { ...second.message, sealedPayload: second.message.sealedPayload.map((byte, index) => (index === 3 ? byte ^ 1 : byte)) }
  expect(readSecond(first.state, initiator, ephemeral, bytes(v.psk), wrong)).toBeNull()
  expect(readSecond(first.state, initiator, ephemeral, new Uint8Array(32), second.message)).toBeNull()
  const done = readSecond(first.state, initiator, ephemeral, bytes(v.psk), second.message)
  expect(hex(done?.payload ?? new Uint8Array(0))).toBe(v.messages[1][0])
  expect(done?.keys.sending).toEqual(second.keys.receiving)
  expect(done?.keys.receiving).toEqual(second.keys.sending)
  for (const [index, [plain, sealed]] of v.messages.slice(2).entries()) {
    const target = new Uint8Array(plain.length / 2 + 16)
    const key = index % 2 === 0 ? done?.keys.sending : done?.keys.receiving
    nodeAead(key ?? new Uint8Array(32)).seal(Math.floor(index / 2), bytes(plain), target)
    expect(hex(target)).toBe(sealed)
  }
})
