/**
 * Questions to whoever sits at the terminal. Where nobody does (input or output is no terminal, or --json), every
 * question is an error that names the flag instead. The only importer of the prompt package, loaded with the first question.
 */
import { NearcastError } from '../lib/errors.ts'

export interface Choice {
  readonly value: string
  readonly hint?: string
}

export interface Prompter {
  /** Whether somebody can be asked. */
  readonly interactive: boolean
  /** `flag`: what answers the question on the command line. @throws NearcastError cli.usage, cli.cancelled */
  text(question: string, flag: string, check?: (answer: string) => string | undefined): Promise<string>
  choose(question: string, flag: string, choices: readonly Choice[]): Promise<string>
  /** None may be chosen. */
  chooseSome(question: string, flag: string, choices: readonly Choice[]): Promise<string[]>
}

export function createPrompter(json: boolean): Prompter {
  return !json && process.stdin.isTTY && process.stdout.isTTY ? terminal : nobody
}

/** @throws NearcastError cli.usage */
function unasked(_question: string, flag: string): never {
  throw new NearcastError('cli.usage', `Give ${flag}; questions are asked only where input and output are a terminal.`, { side: 'client' })
}

export const nobody: Prompter = {
  interactive: false,
  text: async (question, flag) => unasked(question, flag),
  choose: async (question, flag) => unasked(question, flag),
  chooseSome: async (question, flag) => unasked(question, flag),
}

const terminal: Prompter = {
  interactive: true,
  async text(message, _flag, check) {
    const { text, isCancel } = await import('@clack/prompts')
    const answer = await text({ message, ...(check && { validate: (value) => check(value ?? '') }) })
    return isCancel(answer) ? cancelled() : (answer ?? '')
  },
  async choose(message, _flag, choices) {
    const { select, isCancel } = await import('@clack/prompts')
    const answer = await select({ message, options: choices.map(option) })
    return isCancel(answer) ? cancelled() : answer
  },
  async chooseSome(message, _flag, choices) {
    const { multiselect, isCancel } = await import('@clack/prompts')
    const answer = await multiselect({ message, options: choices.map(option), required: false })
    return isCancel(answer) ? cancelled() : answer
  },
}

function option({ value, hint }: Choice): { value: string; label: string; hint?: string } {
  return { value, label: value, ...(hint !== undefined && { hint }) }
}

function cancelled(): never {
  throw new NearcastError('cli.cancelled', 'Nothing was changed.', { side: 'client' })
}
