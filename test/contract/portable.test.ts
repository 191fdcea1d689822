import { PortablePlane } from '../../lib/plane/portable.ts'
import { planeContract } from './plane.ts'

planeContract('portable', () => new PortablePlane())
