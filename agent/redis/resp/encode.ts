/**
 * A command as Redis reads it: an array of bulk strings (RESP2, redis.io/docs/reference/protocol-spec).
 */

/** `latin1`: each character is one byte, so that any bytes can be said. */
export function encodeCommand(words: readonly string[], encoding: 'utf8' | 'latin1' = 'utf8'): Buffer {
  const parts = [`*${words.length}\r\n`]
  for (const word of words) parts.push(`$${Buffer.byteLength(word, encoding)}\r\n${word}\r\n`)
  return Buffer.from(parts.join(''), encoding)
}
