/**
 * A command as Redis reads it: an array of bulk strings (RESP2, redis.io/docs/reference/protocol-spec).
 */

export function encodeCommand(words: readonly string[]): Buffer {
  const parts = [`*${words.length}\r\n`]
  for (const word of words) parts.push(`$${Buffer.byteLength(word)}\r\n${word}\r\n`)
  return Buffer.from(parts.join(''))
}
