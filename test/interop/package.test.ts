/**
 * The package as npm would publish it: built, packed, accepted by a linter, unpacked beside its dependencies. The
 * installed command starts, its programs run, and the exported part has types and works.
 */
import { execFileSync, spawn } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { VERSION } from '../../lib/version.ts'

const ROOT = join(import.meta.dirname, '../..')
const BIN = join(ROOT, 'node_modules/.bin')
const TIMEOUT_MS = 120_000
const manifest = z
  .object({ files: z.array(z.string()), dependencies: z.record(z.string(), z.string()), scripts: z.record(z.string(), z.string()) })
  .parse(JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')))

/** source: what is packed. home: who installed it. */
let directory: string
let home: string
let installed: string

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'nearcast-package-'))
  const source = join(directory, 'source')
  for (const name of ['package.json', 'LICENSE', 'README.md', ...manifest.files]) {
    if (name !== 'dist' && existsSync(join(ROOT, name))) cpSync(join(ROOT, name), join(source, name), { recursive: true })
  }
  // The script `build`, into another place; types are checked elsewhere.
  run(join(BIN, 'tsc'), ['-p', join(ROOT, 'tsconfig.build.json'), '--noCheck', '--outDir', join(source, 'dist')], ROOT)
  cpSync(join(ROOT, 'cli/dev/default-topology.toml'), join(source, 'dist/cli/dev/default-topology.toml'))
  run(process.execPath, [join(ROOT, 'scripts/wasm.mjs'), join(source, 'dist')], ROOT)
  run('npm', ['pack', '--ignore-scripts', '--silent'], source)
  const tarball = readdirSync(source).find((name) => name.endsWith('.tgz')) ?? ''

  home = join(directory, 'home')
  mkdirSync(join(home, 'node_modules'), { recursive: true })
  run('tar', ['-xzf', join(source, tarball), '-C', join(home, 'node_modules')], ROOT)
  installed = join(home, 'node_modules/nearcast')
  cpSync(join(home, 'node_modules/package'), installed, { recursive: true })
  rmSync(join(home, 'node_modules/package'), { recursive: true })
  // Its dependencies and no others.
  for (const name of [...Object.keys(manifest.dependencies), `node-linux-${process.arch}`]) {
    const from = join(ROOT, 'node_modules', name)
    mkdirSync(join(home, 'node_modules', name, '..'), { recursive: true })
    if (existsSync(from)) symlinkSync(from, join(home, 'node_modules', name))
  }
}, TIMEOUT_MS)
afterAll(() => rmSync(directory, { recursive: true }))

function run(command: string, args: readonly string[], cwd = home, env: NodeJS.ProcessEnv = process.env): string {
  try {
    return execFileSync(command, args, { cwd, env, encoding: 'utf8', timeout: TIMEOUT_MS, stdio: 'pipe' })
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string }
    throw new Error(`${command} ${args.join(' ')}: ${stdout ?? ''}${stderr ?? ''}`, { cause: error })
  }
}

test('a linter of packages accepts it', async () => {
  const { messages, pkg } = await publint({ pkgDir: installed, pack: false, strict: true })
  expect(messages.map((message) => formatMessage(message, pkg ?? {}))).toEqual([])
})

test('it holds what belongs in it, and no sources or tests', () => {
  const files = readdirSync(installed, { recursive: true, encoding: 'utf8' })
  expect(files).toEqual(expect.arrayContaining(['LICENSE', 'NOTICE', 'nearcast.example.toml', 'dist/cli/main.js', 'dist/proxy/main.js', 'bin/nearcast.mjs', 'dist/lib/proxy-protocol/index.d.ts']))
  expect(files.filter((file) => /(^|\/)(test|bench|node_modules)\/|(?<!\.d)\.ts$/.test(file))).toEqual([])
})

test('the command starts', () => {
  const env = { PATH: '/usr/bin:/bin', HOME: home }
  expect(run(process.execPath, [join(installed, 'bin/nearcast.mjs'), '--version'], home, env).trim()).toBe(VERSION)
  expect(run(process.execPath, [join(installed, 'bin/nearcast.mjs'), 'completion', 'bash'], home, env)).toContain('complete -o default')
})

test('the exported parts work, and have types', () => {
  writeFileSync(
    join(home, 'use.mts'),
    `import { decode, encodeV1, HeaderReader, type Decoded, type ReadHeader } from 'nearcast/proxy-protocol'
const header: Uint8Array = encodeV1({ family: 'ipv4', transport: 'stream', source: { ip: Uint8Array.of(192, 0, 2, 1), port: 1 }, destination: { ip: Uint8Array.of(192, 0, 2, 2), port: 2 } })
const decoded: Decoded = decode(header)
console.log(decoded.state, new TextDecoder().decode(header).trim())
const reader = new HeaderReader({ maxBytes: 536 })
const read: ReadHeader[] = Array.from(header, (byte) => reader.push(Uint8Array.of(byte)))
console.log(read.at(-2)?.state, read.at(-1)?.state)
// @ts-expect-error -- it is no text
const never = (): unknown => decode('PROXY')
console.assert(typeof never === 'function')
`,
  )
  run(join(BIN, 'tsc'), ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', '--types', '', '--ignoreConfig', 'use.mts'])
  expect(run(process.execPath, ['use.mts'])).toBe('done PROXY TCP4 192.0.2.1 192.0.2.2 1 2\nincomplete done\n')
  writeFileSync(
    join(home, 'tunnel.mts'),
    `import { builtAead, useBuiltBlake2s, Device, MemoryBind, MemoryNetwork, MemoryTun, type Endpoint, type PeerStatus } from 'nearcast/wireguard'
const network = new MemoryNetwork()
const at = (host: string): Endpoint => ({ host, port: 51820 })
const arrived = Promise.withResolvers<Uint8Array>()
const tuns = [new MemoryTun(() => {}), new MemoryTun(arrived.resolve)] as const
const devices = ['192.0.2.1', '192.0.2.2'].map((host, index) => new Device({ privateKey: crypto.getRandomValues(new Uint8Array(32)), bind: new MemoryBind(network, at(host)), tun: tuns[index] ?? tuns[0] }))
for (const device of devices) await device.open()
for (const [index, device] of devices.entries()) for (const [other, { publicKey }] of devices.entries()) if (other !== index) device.setPeer(publicKey, { endpoint: at('192.0.2.' + (other + 1)), allowedIps: ['10.0.0.' + (other + 1)] })
tuns[0].inject(Uint8Array.of(0x45, 0, 0, 20, 0, 0, 0, 0, 64, 59, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2))
console.log((await arrived.promise).length)
const status: PeerStatus | undefined = devices[1]?.peers()[0]
console.log(status?.hasSession, builtAead().kind, useBuiltBlake2s())
for (const device of devices) await device.close()
`,
  )
  run(join(BIN, 'tsc'), ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2024', '--typeRoots', join(ROOT, 'node_modules/@types'), '--types', 'node', '--ignoreConfig', 'tunnel.mts'])
  expect(run(process.execPath, ['tunnel.mts'])).toBe('20\ntrue wasm wasm\n')
  writeFileSync(join(home, 'inner.mjs'), `import 'nearcast/dist/lib/log.js'`)
  expect(() => run(process.execPath, ['inner.mjs'])).toThrow('ERR_PACKAGE_PATH_NOT_EXPORTED')
})

test.each(['router', 'proxy', 'agent', 'gateway', 'backbone'] as const)('run %s: one process, which is the program', async (program) => {
  const config = join(directory, `${program}.toml`)
  const state = join(directory, `${program}-state`)
  const joining = `id = "x"\nhost = "x"\nregion = "x"\nrouter = "https://[::1]:1"\n`
  const settings = { router: 'api.listen = "127.0.0.1:0"\nfeed.listen = "[::1]:0"\n', proxy: joining, agent: `${joining}dataDir = "${state}"\n`, gateway: `${joining}advertise = "192.0.2.1:51820"\n`, backbone: `${joining}advertise = "[2001:db8::1]:51821"\n` }
  writeFileSync(config, `stateDir = "${state}"\n${settings[program]}`)
  const child = spawn(process.execPath, [join(installed, 'bin/nearcast.mjs'), 'run', program, '--config', config], { stdio: ['ignore', 'pipe', 'pipe'] })
  const exited = once(child, 'exit')
  const timer = setTimeout(() => child.kill('SIGKILL'), 30_000)
  try {
    if (program === 'router') {
      const ready = new Promise<boolean>((resolve) => {
        createInterface(child.stdout).on('line', (line) => {
          if (line.includes('"ready"')) resolve(true)
        })
        child.once('exit', () => resolve(false))
      })
      expect(await ready).toBe(true)
      // No process stands between: the one that was started is the program.
      expect(readFileSync(`/proc/${child.pid}/cmdline`, 'utf8')).toContain('dist/router/main.js')
      child.kill('SIGTERM')
      expect(await exited).toEqual([0, null])
    } else {
      let stderr = ''
      child.stderr.on('data', (data: Buffer) => (stderr += data.toString()))
      expect(await exited).toEqual([1, null])
      expect(stderr).toMatch(/^join\.token-missing: /m)
    }
  } finally {
    clearTimeout(timer)
    child.kill('SIGKILL')
  }
})
