/** What a change or a revocation answers with: who has put it in force, in lines for people. */
import { z } from 'zod'
import { provisioning } from '../api-objects.ts'
import type { Provisioning } from '../api-objects.ts'
import { colours } from '../colours.ts'
import { count, milliseconds } from '../output.ts'

export const changedObject = z.looseObject({ change: provisioning })
export const removedObject = z.looseObject({ revocation: provisioning.optional() })

/** `acme/cache` is what it is about, as a sentence begins. */
export function acknowledged(about: string, { proxies, agents, ms, missing }: Provisioning): string[] {
  const readers = [...proxies, ...agents.filter((agent) => agent.error === undefined)]
  const slowest = readers.reduce((most, reader) => Math.max(most, reader.ms ?? 0), 0)
  const where = readers.length === 0 ? 'no connected program was concerned' : `in force at ${count(proxies.length, 'proxy', 'proxies')} and ${count(readers.length - proxies.length, 'agent')}, the last after ${milliseconds(slowest)}`
  return [
    `${about}: ${where} (${milliseconds(ms)} in all).`,
    ...agents.flatMap(({ id, error }) => (error === undefined ? [] : [colours.yellow(`${id}: ${error}`)])),
    ...(missing.length === 0 ? [] : [colours.yellow(`Not acknowledged yet: ${missing.join(', ')}. They will, as soon as they are back.`)]),
  ]
}
