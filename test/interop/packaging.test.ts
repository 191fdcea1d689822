/**
 * What is packed beside the programs, judged by those who read it: manual pages (mandoc), systemd units
 * (systemd-analyze), and that they are current.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { describeCommand } from '../../cli/commands/command-tree.ts'
import { createProgram } from '../../cli/commands/program.ts'
import { manualPages } from '../../cli/manual.ts'
import { VERSION } from '../../lib/version.ts'

const PACKAGING = join(import.meta.dirname, '../../packaging')
const pages = manualPages(describeCommand(await createProgram(VERSION)), VERSION)

function lacking(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0
}

test('packaging/man is current', () => {
  const written = Object.fromEntries(readdirSync(join(PACKAGING, 'man')).map((file) => [file, readFileSync(join(PACKAGING, 'man', file), 'utf8')]))
  expect(written, 'run "npm run man"').toEqual(Object.fromEntries(pages.map(({ file, text }) => [file, text])))
})

test('every command stands in a manual page', () => {
  expect(pages.find(({ file }) => file === 'nearcast-redis.1')?.text).toContain('.SS nearcast redis create')
  expect(pages.find(({ file }) => file === 'nearcast.1')?.text).toContain('nearcast\\-explain')
})

test.skipIf(lacking('mandoc'))('mandoc finds no fault in the manual pages', () => {
  const { stdout, status } = spawnSync('mandoc', ['-Tlint', '-W', 'warning', ...pages.map(({ file }) => join(PACKAGING, 'man', file))], { encoding: 'utf8' })
  expect(status).not.toBeNull()
  // Pages are made anew with each version, so they carry no date.
  expect(stdout.split('\n').filter((line) => line !== '' && !line.includes('missing date'))).toEqual([])
})

test.skipIf(lacking('systemd-analyze'))('systemd accepts the units, and rates their walls', () => {
  // Alone in a tree with the users that they name and nothing of this machine.
  const root = mkdtempSync(join(tmpdir(), 'nearcast-units-'))
  try {
    for (const unit of readdirSync(join(PACKAGING, 'systemd')).filter((file) => file.endsWith('.service'))) {
      const file = join(PACKAGING, 'systemd', unit)
      const text = readFileSync(file, 'utf8')
      expect(text).toMatch(/^Type=notify$/m)
      // Databases go on when their agent is started again.
      expect(text).toMatch(unit === 'nearcast-agent.service' ? /^KillMode=process$/m : /^KillMode=mixed$/m)
      expect(text).toMatch(/^NoNewPrivileges=yes$/m)
      // The pages that they refer to aren't installed here.
      mkdirSync(join(root, 'units'), { recursive: true })
      const copy = join(root, 'units', unit)
      writeFileSync(copy, text.replace(/^Documentation=.*\n/m, ''))
      const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--recursive-errors=no', copy], { encoding: 'utf8', env: { ...process.env, XDG_RUNTIME_DIR: root } })
      expect([unit, stderr.split('\n').filter((line) => line.includes(unit)), status]).toEqual([unit, [], 0])
    }
  } finally {
    rmSync(root, { recursive: true })
  }
})

test('what the units run is what the package has', () => {
  for (const program of ['router', 'proxy', 'agent', 'gateway', 'backbone']) {
    expect(readFileSync(join(PACKAGING, `systemd/nearcast-${program}.service`), 'utf8')).toContain(`ExecStart=/usr/bin/env nearcast run ${program} --config /etc/nearcast/${program}.toml\n`)
  }
  expect(execFileSync(process.execPath, [join(PACKAGING, '../cli/main.ts'), 'run', '--help'], { encoding: 'utf8' })).toContain('--config <file>')
})
