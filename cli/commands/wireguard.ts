/**
 * `nearcast wireguard …`: machines that come into a network by WireGuard. The private key is made here, stands in the
 * configuration that is shown once, and goes nowhere else.
 */
import { randomBytes } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { z } from 'zod'
import { NearcastError } from '../../lib/errors.ts'
import { clampPrivate, encodeKey, KeyPair } from '../../lib/wireguard/keys.ts'
import { listOf } from '../api-objects.ts'
import { colours } from '../colours.ts'
import { createOutput, milliseconds, table } from '../output.ts'
import { formatConfiguration } from '../wireguard/configuration.ts'
import type { Gateway, Probed } from '../wireguard/probe.ts'
import { confirmed, YES_OPTION } from './confirm.ts'
import type { GlobalOptions } from './global-options.ts'
import type { Session, WithSession } from './session.ts'
import { ORG_OPTION } from './session.ts'
import { segment } from './values.ts'

const gatewayObject = z.looseObject({
  id: z.string(),
  region: z.string(),
  publicKey: z.string(),
  endpoints: z.array(z.string()).min(1),
  websocket: z.string().optional(),
  neighbours: z.string().optional(),
  connected: z.boolean(),
})
const peerObject = z.looseObject({ id: z.string(), name: z.string(), network: z.number(), publicKey: z.string(), address: z.string(), createdAt: z.string(), seen: z.looseObject({ gateway: z.string(), at: z.string() }).optional() })
const provisionedPeer = z.looseObject({ ...peerObject.shape, provisioning: z.looseObject({ missing: z.array(z.string()) }) })
const removedPeer = z.looseObject({ revocation: z.looseObject({ gateways: z.array(z.looseObject({ id: z.string() })), ms: z.number(), missing: z.array(z.string()) }) })

interface KeyOptions {
  readonly org?: string
  readonly region?: string
  readonly endpoint?: string
  readonly output?: string
  readonly qr?: true
}

export function addWireguardCommands(program: Command, withSession: WithSession): void {
  const wireguard = program.command('wireguard').description('machines that reach a network by WireGuard: laptops, phones, servers elsewhere')

  configured(wireguard.command('create <name>').description('add a machine and show its configuration, once; says which gateways answer and how fast'))
    .option('--network <network>', 'on which network')
    .action((name: string, options: KeyOptions & { network?: string }, command: Command) =>
      withSession(command, async (session) => {
        const { network } = options
        await makeKey(session, options, (org, publicKey) => session.api.post(peersPath(org), { name, publicKey, ...(network !== undefined && { network }) }, provisionedPeer))
      }),
    )

  wireguard
    .command('list')
    .description('list machines, and when each was seen last')
    .option(...ORG_OPTION)
    .action((options: { org?: string }, command: Command) =>
      withSession(command, async (session) => {
        const peers = await session.api.get(peersPath(await session.org(options.org)), listOf(peerObject))
        session.output.show(peers, () =>
          table(
            ['name', 'network', 'address', 'public key', 'last handshake'],
            peers.map(({ name, network, address, publicKey, seen }) => [name, network, address, publicKey, seen && `${seen.at.slice(0, 19)}Z by ${seen.gateway}`]),
          ),
        )
      }),
    )

  wireguard
    .command('remove <name>')
    .description('remove a machine: its key counts no more, its address is never given out again')
    .option(...ORG_OPTION)
    .option(...YES_OPTION)
    .action((name: string, options: { org?: string; yes?: boolean }, command: Command) =>
      withSession(command, async (session) => {
        const org = await session.org(options.org)
        await confirmed(session, name, options.yes, 'remove')
        const answer = removedPeer.parse(await session.api.delete(`${peersPath(org)}/${segment(name)}`))
        const { gateways, ms, missing } = answer.revocation
        session.output.show(answer, () => [`${name}: removed; ${gateways.length} gateways know (${milliseconds(ms)}).`, ...late(missing)])
      }),
    )

  configured(wireguard.command('reset <name>').description('give a machine a new key and show its new configuration; the old key counts no more'))
    .option(...YES_OPTION)
    .action((name: string, options: KeyOptions & { yes?: boolean }, command: Command) =>
      withSession(command, async (session) => {
        await confirmed(session, name, options.yes, 'reset')
        await makeKey(session, options, (org, publicKey) => session.api.post(`${peersPath(org)}/${segment(name)}/reset`, { publicKey }, provisionedPeer))
      }),
    )

  addRelay(wireguard)

  wireguard
    .command('gateways')
    .description('where machines come in')
    .action((_options: object, command: Command) =>
      withSession(command, async ({ api, output }) => {
        const gateways = await api.get('/v1/gateways', listOf(gatewayObject))
        output.show(gateways, () =>
          table(
            ['gateway', 'region', 'endpoints', 'websocket', 'for gateways', 'state'],
            gateways.map((each) => [each.id, each.region, each.endpoints.join(', '), each.websocket, each.neighbours, each.connected ? 'connected' : 'away']),
          ),
        )
      }),
    )
}

function addRelay(wireguard: Command): void {
  wireguard
    .command('relay <url>')
    .description("a UDP port of this machine that leads to a gateway's WebSocket, for WireGuard clients where UDP doesn't get through; runs until it is ended")
    .option('--listen <host:port>', "what the client takes for the gateway's end point", '127.0.0.1:51820')
    .action(async (url: string, options: { listen: string }, command: Command) => {
      const output = createOutput(command.optsWithGlobals<GlobalOptions>().json === true)
      const ended = Promise.withResolvers<void>()
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => ended.resolve())
      const { startRelay } = await import('../wireguard/relay.ts')
      const relay = await startRelay({ url, listen: options.listen, onState: (state, reason) => output.hint(reason === '' ? `${url}: ${state}` : `${url}: ${state}, ${reason}`) })
      const endpoint = options.listen.replace(/\d+$/, String(relay.port))
      output.show({ endpoint, url }, () => `Write "Endpoint = ${endpoint}" into the client's configuration.`)
      await ended.promise
      await relay.close()
    })
}

/** What commands take that make a configuration. */
function configured(command: Command): Command {
  return command
    .option(...ORG_OPTION)
    .option('--region <region>', "come in by this region's gateway (default: the one that answers fastest)")
    .option('--endpoint <host:port>', 'where the machine reaches the gateway, when that is elsewhere than from here')
    .option('--output <file>', 'write the configuration there, readable by you alone, instead of showing it')
    .option('--qr', 'show a QR code for phones too (on a terminal it is shown without asking)')
}

async function makeKey(session: Session, options: KeyOptions, register: (org: string, publicKey: string) => Promise<z.infer<typeof provisionedPeer>>): Promise<void> {
  const { api, output } = session
  const org = await session.org(options.org)
  const gateways = chosen(await api.get('/v1/gateways', listOf(gatewayObject)), options.region)
  const bytes = clampPrivate(randomBytes(32))
  const privateKey = encodeKey(bytes)
  const publicKey = KeyPair.fromPrivate(bytes).publicKey.text
  // First of all: a key that can't be kept isn't made known.
  if (options.output !== undefined) reserve(options.output)
  const peer = await register(org, publicKey).catch((error: unknown) => {
    if (options.output !== undefined) rmSync(options.output)
    throw error
  })
  const { probeGateways } = await import('../wireguard/probe.ts')
  const probed = await probeGateways(gateways, privateKey)
  const [best] = probed
  if (best === undefined) throw noGateway(options.region)
  const { gateway } = best
  const endpoint = options.endpoint ?? best.endpoint
  const configuration = formatConfiguration({ title: `${org}/${peer.name}`, privateKey, address: peer.address, gateway, endpoint })
  const answers = probed.map(({ gateway: { id, region, websocket }, endpoint: at, ms }) => ({ id, region, endpoint: at, websocket, ms }))
  for (const line of hints(probed, peer.provisioning.missing)) output.hint(line)
  if (options.output !== undefined) writeFileSync(options.output, configuration)
  const value = { ...peer, gateway: gateway.id, endpoint, gateways: answers, ...(options.output === undefined ? { configuration } : { output: options.output }) }
  const shown = options.output === undefined ? configuration.trimEnd() : `The configuration of ${peer.name} (${peer.address}) is in ${options.output}.`
  output.show(value, () => shown)
  if (options.qr === true || (process.stdout.isTTY && options.output === undefined)) {
    const { qrCode } = await import('../wireguard/qr-code.ts')
    output.hint(qrCode(configuration))
  }
  output.hint(colours.dim(nextStep(options.output)))
}

function nextStep(file: string | undefined): string {
  if (file === undefined) return 'It is shown this once. Save it as a file that you alone may read, and bring it up with "wg-quick up <file>"; phones scan it (--qr).'
  return `Bring it up with "wg-quick up ${resolve(file)}".`
}

/** @throws NearcastError gateway.not-found */
function chosen(gateways: readonly Gateway[], region: string | undefined): Gateway[] {
  const fitting = gateways.filter((each) => region === undefined || each.region === region)
  if (fitting.length === 0) throw noGateway(region)
  return fitting
}

function noGateway(region: string | undefined): NearcastError {
  const where = region === undefined ? '' : ` in ${region}`
  return new NearcastError('gateway.not-found', `No gateway has joined${where}; an operator starts one with "nearcast run gateway".`, { side: 'client' })
}

function hints(probed: readonly Probed[], missing: readonly string[]): string[] {
  const lines = probed.map(({ gateway: { id, region, websocket }, endpoint, ms }) =>
    ms === null ? colours.yellow(`${region}: ${id} doesn't answer from here (${endpoint})${websocket === undefined ? '' : `; try "nearcast wireguard relay ${websocket}"`}`) : `${region}: ${id} answers in ${milliseconds(ms)} (${endpoint})`,
  )
  return [...lines, ...late(missing)]
}

function late(missing: readonly string[]): string[] {
  return missing.length === 0 ? [] : [colours.yellow(`Not acknowledged yet: ${missing.join(', ')}. They will, as soon as they are back.`)]
}

/** Never over a file that is there: it may hold the only copy of another key. @throws NearcastError cli.usage */
function reserve(file: string): void {
  try {
    writeFileSync(file, '', { mode: 0o600, flag: 'wx' })
  } catch (cause) {
    const why = cause instanceof Error && 'code' in cause && cause.code === 'EEXIST' ? 'it exists already' : cause instanceof Error ? cause.message : String(cause)
    throw new NearcastError('cli.usage', `Can't write ${file}: ${why}; name another file.`, { side: 'client', cause })
  }
}

function peersPath(org: string): string {
  return `/v1/orgs/${segment(org)}/wireguard`
}
