/**
 * A step of the story: an ordinary PostgreSQL, put behind an address. psql reaches it with TLS from end to end, and its
 * Ctrl-C (a second connection) cancels the query on the first.
 *
 * PostgreSQL refuses to be root, which everybody in the cluster's user namespace is. It runs in a further one, in which
 * the same user has another number: that takes no right and no program that runs as root.
 */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { RUN_DIRECTORY } from '../dev/inside-protocol.ts'
import type { Step, StepContext } from './step.ts'
import { check, said, Skipped, until } from './step.ts'

/** Where Debian, Fedora and a build from source put the programs; Debian keeps them out of PATH. */
const PARENTS: readonly (readonly [parent: string, versions: boolean])[] = [['/usr/lib/postgresql', true], ['/usr/local/pgsql', false], ['/usr', false]]
const PROGRAMS = ['initdb', 'pg_ctl', 'postgres', 'psql']
const HOST = 'mad-1'
const DIRECTORY = `${RUN_DIRECTORY}/tmp/postgres`

interface Service {
  readonly address: string
  readonly provisioning: { readonly agents: readonly { readonly id: string; readonly error?: string }[] }
}

/** The newest version's. */
function findPrograms(): string | null {
  const directories = PARENTS.flatMap(([parent, versions]) => {
    const names = versions && existsSync(parent) ? readdirSync(parent).toSorted((left, right) => Number(right) - Number(left)) : ['']
    return names.map((name) => join(parent, name, 'bin'))
  })
  return directories.find((directory) => PROGRAMS.every((program) => existsSync(join(directory, program)))) ?? null
}

/** `$1` = the directory of the programs, `$2` = the server's. Ends with 77 and a reason where it can't be done. */
const START = `
bin=$1 dir=$2
uid=$(id -u postgres 2>/dev/null || id -u nobody) gid=$(id -g postgres 2>/dev/null || id -g nobody)
as="unshare --user --map-user=$uid --map-group=$gid --"
reason=$($as true 2>&1) || { echo "no further user namespace: $reason"; exit 77; }
command -v openssl >/dev/null || { echo "openssl is missing, which makes the server's certificate"; exit 77; }
mkdir -m 0700 "$dir"
$as "$bin/initdb" -D "$dir/data" -U demo -A trust -N --locale=C -E UTF8 --no-instructions >"$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log"; exit 1; }
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=pg.flycast -keyout "$dir/data/server.key" -out "$dir/data/server.crt" 2>/dev/null
chmod 0600 "$dir/data/server.key"
cat >>"$dir/data/postgresql.conf" <<'CONF'
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
ssl = on
fsync = off
shared_buffers = 16MB
dynamic_shared_memory_type = mmap
CONF
$as "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w -t 20 start >/dev/null || { tail -5 "$dir/log"; exit 1; }
`

async function start(context: StepContext, programs: string): Promise<void> {
  const finished = await context.cluster.onHost(HOST, `set -- ${programs} ${DIRECTORY}\n${START}`)
  if (finished.code === 77) throw new Skipped(said(finished))
  check(finished.code === 0, `PostgreSQL didn't start: ${said(finished)}`)
}

async function psql(context: StepContext, programs: string, region: string, query: string, before = ''): Promise<string> {
  const conninfo = 'host=pg.flycast user=demo dbname=postgres sslmode=require connect_timeout=15'
  const finished = await context.cluster.onAppHost('acme', region, `${before} ${programs}/psql "${conninfo}" -XAt -c "${query}" 2>&1`)
  context.show(`acme in ${region}> ${before === '' ? '' : `${before} `}psql "${conninfo}" -c "${query}"\n${said(finished)}`)
  return finished.stdout.trim()
}

export const POSTGRES_STEP: Step = {
  name: 'postgres',
  beside: true,
  title: 'An ordinary PostgreSQL behind an address: psql with TLS, and Ctrl-C cancels the query',
  async run(context) {
    const programs = findPrograms()
    if (programs === null) throw new Skipped('PostgreSQL is not installed (Debian: apt-get install postgresql).')
    await start(context, programs)
    const args = ['services', 'create', '--org', 'acme', '--name', 'pg', '--kind', 'postgres', '--port', '5432', '--nodes', HOST, '--backend', '127.0.0.1:5432', '--proxy-header', 'none']
    const service = await context.cluster.json<Service>(args)
    context.show(`$ nearcast ${args.join(' ')}\naddress ${service.address}`)
    const failed = service.provisioning.agents.find(({ error }) => error !== undefined)
    check(failed === undefined, `${failed?.id}: ${failed?.error}`)
    for (const region of ['mad', 'gru']) {
      const answer = await psql(context, programs, region, "select 'ssl ' || ssl || ' ' || version from pg_stat_ssl where pid = pg_backend_pid()")
      check(/^ssl true TLSv1\.[23]$/.test(answer), 'psql did not get an answer over TLS.')
    }
    const started = performance.now()
    const cancelled = await psql(context, programs, 'gru', 'select pg_sleep(25)', 'timeout -s INT 2')
    check(cancelled.includes('canceling statement due to user request'), 'Ctrl-C did not cancel the query.')
    check(performance.now() - started < 15_000, 'The query was cancelled late.')
    const foreign = await context.cluster.onAppHost('globex', 'mad', `${programs}/psql "host=${service.address} user=demo dbname=postgres connect_timeout=3" -c 'select 1' 2>&1`)
    check(foreign.code !== 0, `globex reached acme's PostgreSQL: ${said(foreign)}`)
    const log = async (): Promise<string> => (await context.cluster.nearcast(['dev', 'logs', 'gru-1/proxy'])).stdout
    await until('the proxy has logged the cancel request', async () => (await log()).includes('"outcome":"cancel-request"'))
    await context.cluster.nearcast(['services', 'destroy', 'pg', '--org', 'acme'])
    await context.cluster.onHost(HOST, `kill -INT $(head -1 ${DIRECTORY}/data/postmaster.pid)`)
  },
}
