/** `nearcast doctor`: what this machine offers and allows, what for, and what to do about the rest. */
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import type { Finding } from '../doctor/finding.ts'
import { colours } from '../colours.ts'
import { createOutput, table } from '../output.ts'
import type { GlobalOptions } from './global-options.ts'

export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .description('look at this machine: features of the kernel, limits, and what to do about them')
    .action(async (_options: object, command: Command) => {
      const [{ checkFeatures }, { checkLimits }] = await Promise.all([import('../doctor/features.ts'), import('../doctor/limits.ts')])
      const findings = [...(await checkFeatures(read)), ...checkLimits(read)]
      createOutput(command.optsWithGlobals<GlobalOptions>().json === true).show({ findings }, () => [
        table(['', 'what', 'for', 'found'], findings.map((each) => [MARKS[each.answer](), each.id, each.for, each.reason])),
        ...findings.flatMap(({ id, todo }) => (todo === undefined ? [] : [`${colours.yellow('→')} ${id}: ${todo}`])),
      ])
    })
}

const MARKS: Readonly<Record<Finding['answer'], () => string>> = {
  yes: () => colours.green('yes'),
  no: () => colours.yellow('no'),
  unknown: () => colours.dim('?'),
}

function read(file: string): string | null {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return null
  }
}
