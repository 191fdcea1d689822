/** Writes packaging/man: the manual pages of the commands as they are. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describeCommand } from '../cli/commands/command-tree.ts'
import { createProgram } from '../cli/commands/program.ts'
import { manualPages } from '../cli/manual.ts'
import { VERSION } from '../lib/version.ts'

const directory = join(import.meta.dirname, '../packaging/man')
mkdirSync(directory, { recursive: true })
for (const old of readdirSync(directory)) rmSync(join(directory, old))
for (const { file, text } of manualPages(describeCommand(await createProgram(VERSION)), VERSION)) writeFileSync(join(directory, file), text)
