/** The question before something that can't be undone: the name, typed. */
import { NearcastError } from '../../lib/errors.ts'
import type { Session } from './session.ts'

export const YES_OPTION = ['-y, --yes', "don't ask"] as const

/** @throws NearcastError cli.not-confirmed */
export async function confirmed({ prompter }: Pick<Session, 'prompter'>, name: string, yes: boolean | undefined, verb = 'destroy'): Promise<void> {
  if (yes === true) return
  if (!prompter.interactive) {
    throw new NearcastError('cli.not-confirmed', `To ${verb} ${name} can't be undone; give --yes where nobody can be asked.`, { side: 'client' })
  }
  const typed = await prompter.text(`This can't be undone. Type ${name} to ${verb} it:`, '--yes')
  if (typed !== name) throw new NearcastError('cli.not-confirmed', `That isn't "${name}"; nothing was changed.`, { side: 'client' })
}
