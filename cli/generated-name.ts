/** A name for a database whose maker gave none: two words and four digits, a valid host name. Pure. */
const FIRST = 'amber autumn bold brave bright calm clear cool crisp dawn deep early fair fresh gentle golden green hidden lively lucky misty mellow noble patient quiet rapid silent silver snowy solar steady still swift tidal vivid warm wild winter wise young'.split(' ')
const SECOND = 'bay bird breeze brook bush cliff cloud cove creek dawn dew dune field fire fog forest frost glade grove harbor haze hill lake leaf meadow moon moss mountain pine pond rain reef ridge river sea shore sky snow spring star stone stream sun surf tide tree valley wave wind wood'.split(' ')

/** `random(n)`: a whole number from 0 to n - 1. */
export function generateName(random: (below: number) => number): string {
  const pick = (words: readonly string[]): string => words[random(words.length)] ?? ''
  return `${pick(FIRST)}-${pick(SECOND)}-${1000 + random(9000)}`
}
