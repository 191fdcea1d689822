/** `nearcast addresses set <address> …`: what can be changed of an address; and its TLS options, for whatever makes one. */
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { Option } from 'commander'
import { NearcastError } from '../../lib/errors.ts'
import { addressObject, provisioning } from '../api-objects.ts'
import { milliseconds } from '../output.ts'
import type { WithSession } from './session.ts'
import { ORG_OPTION } from './session.ts'
import { list, segment } from './values.ts'

export interface TlsOptions {
  readonly tls?: string
  readonly tlsAlpn?: readonly string[]
  readonly tlsClientCa?: string
}

export const TLS_POLICIES = ['off', 'terminate', 'passthrough', 'auto'] as const

/** `auto` is for protocols whose clients speak first, as those of Redis do. */
export function addTlsOptions(command: Command): Command {
  return command
    .addOption(new Option('--tls <policy>', "who does TLS: off, terminate (the proxy), passthrough (the server), auto (the client's first byte says)").choices(TLS_POLICIES))
    .option('--tls-alpn <protocols>', 'protocols to agree upon, best first: a,b', list)
    .option('--tls-client-ca <file>', 'clients must present a certificate of this CA (PEM); with terminate')
}

/** The member `tls` of a request, or nothing. @throws NearcastError cli.usage */
export function tlsBody({ tls, tlsAlpn, tlsClientCa }: TlsOptions): { tls?: object } {
  if (tls === undefined) {
    if (tlsAlpn === undefined && tlsClientCa === undefined) return {}
    throw new NearcastError('cli.usage', 'Say --tls <policy> as well: all TLS settings of an address are set together.')
  }
  return { tls: { policy: tls, ...(tlsAlpn !== undefined && { alpn: tlsAlpn }), ...(tlsClientCa !== undefined && { clientCa: readPem(tlsClientCa) }) } }
}

function readPem(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new NearcastError('cli.usage', `Can't read ${file}; name a PEM file.`, { cause })
  }
}

const changed = addressObject.extend({ change: provisioning })

export function addAddressSettings(program: Command, withSession: WithSession): void {
  const group = program.commands.find((command) => command.name() === 'addresses')
  if (group === undefined) throw new NearcastError('internal', 'The command "addresses" has to be there first.')
  const set = group.command('set <address>').description('change an address; in force for connections from then on').option(...ORG_OPTION)
  addTlsOptions(set).action((address: string, options: TlsOptions & { org?: string }, command: Command) =>
    withSession(command, async (session) => {
      const body = tlsBody(options)
      if (Object.keys(body).length === 0) throw new NearcastError('cli.usage', 'Say what to change: --tls <policy>.')
      const org = segment(await session.org(options.org))
      const result = await session.api.patch(`/v1/orgs/${org}/addresses/${segment(address)}`, body, changed)
      const { proxies, ms, missing } = result.change
      const late = missing.length === 0 ? [] : [`Not acknowledged yet: ${missing.join(', ')}. They will, as soon as they are back.`]
      session.output.show(result, () => [`${result.address}: in force at ${proxies.length} proxies after ${milliseconds(ms)}`, ...late])
    }),
  )
}
