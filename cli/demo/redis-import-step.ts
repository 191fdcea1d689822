/** The step of the story about moving in: a plain Redis is taken over while it is written to. */
import type { Step } from './step.ts'
import { check, said } from './step.ts'

const PORT = 6390
/** On mad's data node: the only place from which its agent may import here. */
const HOST = 'mad-1'
const plain = (command: string): string => `redis-cli -p ${PORT} ${command}`

export const REDIS_IMPORT_STEP: Step = {
  name: 'redis-import',
  beside: true,
  title: 'A plain Redis moves in while it is written to: followed, cut over, no acknowledged write missing',
  async run({ cluster, show }) {
    const { url } = await cluster.json<{ readonly url: string }>(['redis', 'create', '--org', 'acme', '--name', 'moved', '--region', 'mad'])
    const onHost = async (script: string): Promise<string> => {
      const finished = await cluster.onHost(HOST, script)
      check(finished.code === 0, `${script}: ${said(finished)}`)
      return said(finished)
    }
    const server = `redis-server --port ${PORT} --bind 127.0.0.1 --dir "$(mktemp -d)" --save "" --daemonize yes`
    await onHost(`${server}; until [ "$(${plain('ping')})" = PONG ]; do sleep 0.1; done`)
    await onHost(plain(`eval "for i = 1, 10000 do redis.call('set', 'k' .. i, i) end" 0`))
    show(`mad's host> ${server}\nfilled with 10000 keys`)
    // One line of answer per acknowledged write; it ends by itself when nobody tells it to.
    const writer = onHost(`(until [ "$(${plain('exists written-enough')})" = 1 ] || [ $((n=n+1)) = 500 ]; do echo "incr written"; sleep 0.02; done) | ${plain('')} | tail -1`)
    // Waited for below; should it fail before that, it fails this step, not the process.
    writer.catch(() => undefined)
    const move = ['redis', 'import', 'moved', '--org', 'acme']
    const from = ['--from', `redis://127.0.0.1:${PORT}`, '--yes']
    const type = async (words: readonly string[]): Promise<void> => {
      const finished = await cluster.nearcast([...move, ...words])
      show(`$ nearcast ${[...move, ...words].join(' ')}\n${said(finished)}`)
      check(finished.code === 0, `The import failed: ${said(finished)}`)
    }
    await type(from)
    await onHost(plain('set written-enough 1'))
    const acknowledged = await writer
    await type(['--cut-over'])
    await onHost(`${plain('shutdown nosave')} || true`)
    const here = await cluster.onAppHost('acme', 'mad', 'redis-cli --no-auth-warning -u "$URL" --no-raw mget k1 k10000 written', { URL: url })
    show(`acme in mad> mget k1 k10000 written\n${said(here)}\nwrites that the plain Redis acknowledged: ${acknowledged}`)
    check(Number(acknowledged) > 0, 'Nothing was written while it moved.')
    check(said(here) === `1) "1"\n2) "10000"\n3) "${acknowledged}"`, 'It does not hold what the plain Redis acknowledged.')
    await cluster.nearcast(['redis', 'destroy', 'moved', '--org', 'acme', '--yes'])
  },
}
