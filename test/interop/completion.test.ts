/** Completions, judged by the shells themselves: what each offers behind `nearcast redis ` and so on. */
import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { describeCommand } from '../../cli/commands/command-tree.ts'
import { createProgram } from '../../cli/commands/program.ts'
import type { Shell } from '../../cli/completion.ts'
import { completionScript, SHELLS } from '../../cli/completion.ts'

const root = describeCommand(await createProgram('0'))

/** What is offered for the last of `words`. */
const OFFERS: Readonly<Record<Shell, (words: readonly string[]) => string>> = {
  bash: (words) => `COMP_WORDS=(${words.map(quote).join(' ')}); COMP_CWORD=${words.length - 1}; _nearcast; printf '%s\\n' "\${COMPREPLY[@]}"`,
  // The completion system wants a terminal; the function itself is the same without it.
  zsh: (words) =>
    `words=(${words.map(quote).join(' ')}); CURRENT=${words.length}; _files() { : }; _describe() { print -l -- \${\${(P)2}%%:*} }; _nearcast | grep -e ${quote(`^${words.at(-1) ?? ''}`)}`,
  fish: (words) => `complete -C ${quote(words.join(' '))}`,
}

function quote(word: string): string {
  return `'${word}'`
}

function offered(shell: Shell, words: readonly string[]): string[] {
  const prelude = shell === 'zsh' ? 'compdef() { : }\n' : ''
  const script = `${prelude}${completionScript(shell, root)}\n${OFFERS[shell](words)}\n`
  const flags = { bash: ['--norc', '--noprofile'], zsh: ['-f'], fish: ['--no-config'] }[shell]
  const { stdout, stderr } = spawnSync(shell, [...flags, '-c', script], { encoding: 'utf8', timeout: 10_000, env: { PATH: process.env['PATH'], HOME: '/nonexistent' } })
  expect(stderr).toBe('')
  return stdout
    .split('\n')
    .map((line) => line.split('\t')[0] ?? '')
    .filter((line) => line !== '')
}

for (const shell of SHELLS) {
  const missing = spawnSync(shell, ['-c', 'true']).error !== undefined
  test.skipIf(missing)(`${shell}${missing ? ' (not installed)' : ''}`, () => {
    expect(offered(shell, ['nearcast', ''])).toEqual(expect.arrayContaining(['redis', 'explain', 'dev', 'completion']))
    expect(offered(shell, ['nearcast', 'redis', ''])).toEqual(expect.arrayContaining(['create', 'list', 'destroy']))
    expect(offered(shell, ['nearcast', 'redis', ''])).not.toContain('explain')
    expect(offered(shell, ['nearcast', 'redis', 'cr'])).toEqual(['create'])
    // The value of an option is no command, and options may come first.
    expect(offered(shell, ['nearcast', '--cluster', 'redis', 'dev', 'st'])).toEqual(expect.arrayContaining(['start', 'status', 'stop']))
    expect(offered(shell, ['nearcast', 'redis', 'create', '--org', 'acme', '--re'])).toEqual(expect.arrayContaining(['--region', '--replicas']))
    expect(offered(shell, ['nearcast', 'redis', 'destroy', 'x', '--y'])).toEqual(['--yes'])
    // Behind `--` stands another program's command line.
    if (shell !== 'fish') expect(offered(shell, ['nearcast', 'dev', 'exec', '--', 'r'])).toEqual([])
  })
}
