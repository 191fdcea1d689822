/** `nearcast dev capture`: runs capture.ts beside every region's router, and puts together what it says. */
import { z } from 'zod'
import type { Cluster } from './cluster.ts'
import { linkInterface, regionNamespace } from './network-plan.ts'
import { enter } from './network-script.ts'
import { programFile } from './program-file.ts'
import { BACKBONE_PORT } from './programs.ts'

/** By the way it went: what `from` sent to `to` over their link, kind by kind, and frames that held the text in the clear. */
export const captured = z.array(
  z.object({
    from: z.string(),
    to: z.string(),
    kinds: z.record(z.string(), z.object({ packets: z.number(), bytes: z.number() })),
    marked: z.number(),
  }),
)
const said = z.array(captured.element.omit({ from: true, to: true }).extend({ interface: z.string() }))

/** `text` holds letters, digits and hyphens only. */
export async function captureLinks({ topology, world }: Cluster, seconds: number, text: string): Promise<z.infer<typeof captured>> {
  const ways = topology.links.flatMap(({ left, right }) => [{ from: left, to: right }, { from: right, to: left }])
  const script = topology.regions.flatMap(({ id }) => {
    const interfaces = ways.filter(({ to }) => to === id).map(({ from }) => linkInterface(from))
    if (interfaces.length === 0) return []
    return [`${enter(regionNamespace(id))} '${process.execPath}' '${programFile('cli/dev/capture')}' ${1000 * seconds} ${BACKBONE_PORT} '${text}' ${interfaces.join(' ')} | sed 's/^/${id} /' &\n`]
  })
  const output = await world.call('script', { text: `${script.join('')}wait\n` })
  return output.split('\n').flatMap((line) => {
    const [to = '', ...json] = line.split(' ')
    if (json.length === 0) return []
    return said.parse(JSON.parse(json.join(' '))).map(({ interface: name, kinds, marked }) => ({ from: name.slice(linkInterface('').length), to, kinds, marked }))
  })
}
