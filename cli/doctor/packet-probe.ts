/** Run by features.ts in a namespace: opens a packet socket on its loopback; ends with 1 and the reason when it can't. */
import { asNearcastError } from '../../lib/errors.ts'
import { PacketSocket } from '../../lib/kernel/packet-socket.ts'

try {
  new PacketSocket('lo', 1 << 16).close()
} catch (error) {
  process.stderr.write(`${asNearcastError(error).message}\n`)
  process.exitCode = 1
}
