/** The contract of planes on Node's own sockets: TLS, and listening. */
import { PortablePlane } from '../../lib/plane/portable.ts'
import { planeContract } from './plane.ts'
import { listenContract } from './plane-listen.ts'
import { secureContract } from './plane-secure.ts'

planeContract('portable', () => new PortablePlane(), ['tls'])
secureContract('portable', () => new PortablePlane())
listenContract('portable', () => new PortablePlane())
