/** RESP for tests: values written as an engine writes them, random values and requests, and a naive reader of requests. */
import type { Reply } from '../../agent/redis/resp/reply-decoder.ts'
import type { Random } from './random.ts'

export function encodeReply(reply: Reply): string {
  switch (reply.kind) {
    case 'text':
      return reply.simple ? `+${reply.text}\r\n` : `$${reply.text.length}\r\n${reply.text}\r\n`
    case 'error':
      return reply.bulk ? `!${reply.text.length}\r\n${reply.text}\r\n` : `-${reply.text}\r\n`
    case 'number':
      return `:${reply.value}\r\n`
    case 'null':
      return reply.type === '_' ? '_\r\n' : `${reply.type}-1\r\n`
    case 'list':
      return `*${reply.items.length}\r\n${reply.items.map(encodeReply).join('')}`
    case 'set':
      return `~${reply.items.length}\r\n${reply.items.map(encodeReply).join('')}`
    case 'push':
      return `>${reply.items.length}\r\n${reply.items.map(encodeReply).join('')}`
    case 'map':
      return `%${reply.items.length / 2}\r\n${reply.items.map(encodeReply).join('')}`
    case 'boolean':
      return `#${reply.value ? 't' : 'f'}\r\n`
    case 'double':
      return `,${reply.text}\r\n`
    case 'big':
      return `(${reply.value}\r\n`
    case 'verbatim':
      return `=${reply.text.length + 4}\r\n${reply.format}:${reply.text}\r\n`
    default:
      return `|${reply.attributes.length / 2}\r\n${reply.attributes.map(encodeReply).join('')}${encodeReply(reply.reply)}`
  }
}

/** Latin-1, with what looks like RESP more often than chance would have it. */
function randomText(random: Random, line = false): string {
  const parts = Array.from({ length: random.below(4) }, () => random.pick(['a', 'OK', '\0', 'ÿ', '$3', '*1', '-ERR x', line ? '' : '\r\n', line ? ' ' : '\n', '>', '%1', ' ']))
  return parts.join('')
}

export function randomReply(random: Random, depth = 0): Reply {
  const items = (): Reply[] => Array.from({ length: random.below(4) }, () => randomReply(random, depth + 1))
  const kind = random.pick(depth < 3 ? [...SCALARS, 'list', 'set', 'map', 'push', 'attributed'] : SCALARS)
  switch (kind) {
    case 'text':
      return random.below(2) === 0 ? { kind, text: randomText(random) } : { kind, text: randomText(random, true), simple: true }
    case 'error':
      return random.below(2) === 0 ? { kind, text: randomText(random, true) } : { kind, text: randomText(random), bulk: true }
    case 'number':
      return { kind, value: random.below(2_000_000) - 1_000_000 }
    case 'null':
      return { kind, type: random.pick(['$', '*', '_']) }
    case 'boolean':
      return { kind, value: random.below(2) === 0 }
    case 'double':
      return { kind, text: random.pick(['1.5', '-inf', 'inf', 'nan', '10', '-3.25e+10', '0']) }
    case 'big':
      return { kind, value: BigInt(random.below(1_000_000)) ** 7n * (random.below(2) === 0 ? 1n : -1n) }
    case 'verbatim':
      return { kind, format: random.pick(['txt', 'mkd']), text: randomText(random) }
    case 'push':
      return depth > 0 ? { kind: 'list', items: items() } : { kind, items: [randomReply(random, depth + 1), ...items()] }
    case 'map':
      return { kind, items: items().flatMap((key) => [key, randomReply(random, depth + 1)]) }
    case 'attributed':
      return { kind, attributes: items().flatMap((key) => [key, randomReply(random, depth + 1)]), reply: randomReply(random, depth === 0 ? 1 : depth) }
    default:
      return { kind, items: items() }
  }
}

const SCALARS = ['text', 'error', 'number', 'null', 'boolean', 'double', 'big', 'verbatim'] as const

export interface RandomRequest {
  readonly words: readonly string[]
  readonly bytes: string
}

export function randomRequest(random: Random): RandomRequest {
  const words = Array.from({ length: 1 + random.below(4) }, () => randomText(random))
  if (random.below(3) > 0) return { words, bytes: `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join('')}` }
  if (random.below(8) === 0) return { words: [], bytes: random.pick(['\r\n', '\n', '  \r\n', '*0\r\n', '*-1\r\n']) }
  const quoted = words.map((word) => (random.below(2) === 0 && !word.includes('\n') && !word.includes('\0')&& !word.includes("'") ? `'${word}'` : `"${escaped(word)}"`))
  return { words, bytes: `${quoted.join(' ')}${random.pick(['\n', '\r\n'])}` }
}

function escaped(text: string): string {
  return text.replaceAll(/[^ -~]|["\\]/g, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`)
}

/** A few bytes changed, lost, doubled or made up. */
export function damagedText(random: Random, text: string): string {
  let damaged = text
  for (let count = 1 + random.below(3); count > 0; count--) {
    const at = random.below(damaged.length + 1)
    const put = random.pick(['', '', '\r', '\n', '0', '9', '-', '$', '*', '"', 'x', '\0', '\r\n', '|1\r\n', '99999999999'])
    damaged = damaged.slice(0, at) + put + damaged.slice(at + random.below(3))
  }
  return damaged
}

/** In pieces, anywhere. */
export function pieces(random: Random, bytes: Buffer): Buffer[] {
  const parts: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(bytes.length, at + 1 + random.below(random.pick([1, 4, 64])))
    parts.push(bytes.subarray(at, end))
    at = end
  }
  return parts
}
