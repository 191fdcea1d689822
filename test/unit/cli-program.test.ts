/** The command tree is read in parts: which part holds which command is written down, and has to be true. */
import { Command } from 'commander'
import { expect, test } from 'vitest'
import { createProgram, GROUPS } from '../../cli/commands/program.ts'

const names = (program: Command): string[] => program.commands.map((command) => command.name())

test.each(GROUPS.map((group) => [group.commands.join(', '), group] as const))('%s: no more and no less', async (_names, group) => {
  const program = new Command()
  await group.add(program)
  expect(names(program)).toEqual(group.commands)
})

test.each([
  [['redis', 'import', 'x'], ['redis']],
  [['--cluster', 'redis', '--json', '--api=x', 'use', '--help'], ['use', 'whoami']],
  [['status'], ['orgs', 'networks', 'addresses', 'services', 'audit', 'status', 'explain']],
])('%j needs %j', async (words, commands) => {
  expect(names(await createProgram('0', words))).toEqual(commands)
})

test.each([[[]], [['--help']], [['--help', 'redis']], [['help', 'redis']], [['rediss']], [['completion', 'bash']], [['--cluster']]])('%j needs all', async (words) => {
  expect(names(await createProgram('0', words))).toEqual([...GROUPS.flatMap(({ commands }) => commands), 'completion'])
})
