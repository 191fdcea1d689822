/** Parsers of option values; what they refuse is shown as a usage error that names the option. */
import { InvalidArgumentError, Option } from 'commander'
import { WANTED_PLANES } from '../../lib/plane/wanted.ts'

/** `a,b , c` */
export function list(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
}

export function whole(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('It is a whole number.')
  return Number(text)
}

/** A number, or one of these words. */
export function wholeOr<Word extends string>(...words: readonly Word[]): (text: string) => number | Word {
  return (text) => {
    const word = words.find((each) => each === text)
    if (word !== undefined) return word
    if (!/^\d+$/.test(text)) throw new InvalidArgumentError(`It is a whole number, or ${words.join(', or ')}.`)
    return Number(text)
  }
}

/** A path segment that holds a name from the user. */
export function segment(name: string): string {
  return encodeURIComponent(name)
}

/** Of a development cluster. */
export function planeOption(): Option {
  return new Option('--plane <plane>', "who moves the bytes in all proxies and agents (default: the topology's, else auto)").choices(WANTED_PLANES)
}
