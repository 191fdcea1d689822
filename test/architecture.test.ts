/**
 * The rules of ARCHITECTURE.md that a machine can check: who imports whom, one importer per package, file sizes, names.
 */
import { readFileSync } from 'node:fs'
import { execFileSync } from 'node:child_process'
import { dirname, join, normalize } from 'node:path'
import { expect, test } from 'vitest'

const PROGRAMS = ['proxy', 'router', 'agent', 'cli']
/** Vocabulary that every room speaks: schemas (zod). All other packages have one importer. */
const SHARED_PACKAGES = new Set(['zod'])

interface Import {
  readonly file: string
  readonly specifier: string
}

const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', ...PROGRAMS, 'lib'], { encoding: 'utf8' })
  .split('\n')
  .filter((file) => file.endsWith('.ts'))

const imports: Import[] = files.flatMap((file) =>
  [...readFileSync(file, 'utf8').matchAll(/(?:^|\n)\s*(?:import|export)\s[^'"]*?from\s+['"]([^'"]+)['"]|import\(['"]([^'"]+)['"]\)/g)].map((match) => ({
    file,
    specifier: match[1] ?? match[2] ?? '',
  })),
)

const room = (path: string): string => path.split('/')[0] ?? ''
const target = ({ file, specifier }: Import): string => normalize(join(dirname(file), specifier))

test('there is something to check', () => {
  expect(files.length).toBeGreaterThan(20)
  expect(imports.length).toBeGreaterThan(files.length)
})

test('programs import lib and themselves, lib imports no program', () => {
  const wrong = imports.filter(({ specifier }) => specifier.startsWith('.')).filter((each) => ![room(each.file), 'lib'].includes(room(target(each))))
  expect(wrong).toEqual([])
})

test('every third-party package has one importing folder', () => {
  const importers = new Map<string, Set<string>>()
  for (const { file, specifier } of imports) {
    if (specifier.startsWith('.') || specifier.startsWith('node:')) continue
    const name = specifier.split('/').slice(0, specifier.startsWith('@') ? 2 : 1).join('/')
    if (!SHARED_PACKAGES.has(name)) importers.set(name, (importers.get(name) ?? new Set()).add(dirname(file)))
  }
  const shared = [...importers].filter(([, folders]) => folders.size > 1).map(([name, folders]) => `${name}: ${[...folders].join(', ')}`)
  expect(shared).toEqual([])
})

test('the FFI stays in lib/kernel', () => {
  expect(imports.filter(({ file, specifier }) => specifier === 'koffi' && dirname(file) !== 'lib/kernel')).toEqual([])
})

test('WireGuard is a kit of its own: it takes no more of lib than errors, addresses, the window, WebSockets and the kernel', () => {
  const wireguard = imports.filter(({ file, specifier }) => file.startsWith('lib/wireguard/') && specifier.startsWith('.'))
  expect(wireguard.length).toBeGreaterThan(50)
  expect(wireguard.filter((each) => !/^lib\/(wireguard\/|kernel\/|errors\.ts|address\.ts|hop\/replay-window\.ts|websocket\.ts)/.test(target(each)))).toEqual([])
})

test('gateway, backbone and dns read the feed, never the store', () => {
  const wrong = imports.filter(({ file }) => /^router\/(gateway|backbone|dns)\//.test(file)).filter((each) => target(each).startsWith('router/registry'))
  expect(wrong).toEqual([])
})

test('codecs, address logic and state machines are pure', () => {
  const pure = /^lib\/(proxy-protocol\/|wireguard\/(?!device|built-|udp-bind|websocket-bind|kernel-tun|index)|address|isolation|errors|hop\/(protocol|header|frames|replay-window|sessions)\.ts)|^(proxy|agent)\/connection\.ts|^proxy\/(nearest\/(choose|health|latency)|tls\/(client-hello|client-tls|handshakes)|routes|tables\/[a-z-]+)\.ts/
  const impure = new Set(['node:net', 'node:tls', 'node:http', 'node:https', 'node:fs', 'node:child_process', 'node:timers', 'node:timers/promises'])
  const checked = files.filter((file) => pure.test(file))
  expect(checked.length).toBeGreaterThan(8)
  expect(imports.filter(({ file, specifier }) => pure.test(file) && impure.has(specifier))).toEqual([])
  const clocks = checked.filter((file) => /\b(Date\.now|performance\.now|setTimeout|setInterval|Math\.random)\(/.test(readFileSync(file, 'utf8')))
  expect(clocks).toEqual([])
})

test('no file over 600 lines, no drawer for odds and ends, names in kebab-case', () => {
  const long = files.filter((file) => readFileSync(file, 'utf8').split('\n').length > 600)
  const vague = files.filter((file) => /(^|\/)(utils?|helpers?|common|misc)(\/|\.ts)/.test(file))
  const odd = files.filter((file) => !/^[a-z0-9/.-]+$/.test(file))
  expect({ long, vague, odd }).toEqual({ long: [], vague: [], odd: [] })
})

test('named exports only, and a header comment in every file', () => {
  const defaults = files.filter((file) => /^export default/m.test(readFileSync(file, 'utf8')))
  const bare = files.filter((file) => !/^(#!.*\n)?\/\*\*/.test(readFileSync(file, 'utf8')))
  expect({ defaults, bare }).toEqual({ defaults: [], bare: [] })
})
