/**
 * The thread that has the data path: it does what it is asked, in order, and ends when it is told to. Its start and each
 * question are answered; what fails is answered as code and message, because errors lose their class on the way.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { asNearcastError } from '../../lib/errors.ts'
import { DataPath } from './data-path.ts'
import type { DataPathOptions } from './data-path.ts'
import type { PeersChange } from './gateway-device.ts'
import type { NeighbourRow } from './neighbours.ts'

export interface DataThreadStart {
  readonly options: DataPathOptions
  /** Moved here: nobody else has it any more. */
  readonly privateKey: Uint8Array
}

export type Asked =
  | { readonly type: 'apply'; readonly change: PeersChange }
  | { readonly type: 'neighbours'; readonly rows: readonly NeighbourRow[] }
  | { readonly type: 'seen'; readonly publicKeys: readonly string[] }
  | { readonly type: 'state' }
  | { readonly type: 'close' }

export interface Question {
  readonly id: number
  readonly asked: Asked
}

/** `id` 0: of the start. */
export type Answer = { readonly id: number; readonly value: unknown } | { readonly id: number; readonly failure: { readonly code: string; readonly message: string } }

/** Of the start. */
export interface DataThreadOpened {
  readonly port: number
  readonly interface: string
}

function answer(path: DataPath, asked: Asked): unknown {
  if (asked.type === 'apply') return path.apply(asked.change)
  if (asked.type === 'neighbours') return path.applyNeighbours(asked.rows)
  if (asked.type === 'seen') return path.seen(asked.publicKeys)
  if (asked.type === 'state') return path.state
  return path.close()
}

async function run(port: NonNullable<typeof parentPort>): Promise<void> {
  const reply = async (id: number, act: () => unknown): Promise<void> => {
    try {
      const answered: Answer = { id, value: await act() }
      port.postMessage(answered)
    } catch (error) {
      const { code, message } = asNearcastError(error)
      const failed: Answer = { id, failure: { code, message } }
      port.postMessage(failed)
    }
  }
  const { options, privateKey } = workerData as DataThreadStart
  let path: DataPath | null = null
  await reply(0, async (): Promise<DataThreadOpened> => {
    const opening = new DataPath(options, privateKey)
    await opening.open()
    path = opening
    return { port: path.port, interface: path.interface }
  })
  if (path === null) return port.close()
  const data: DataPath = path
  const take = async ({ id, asked }: Question): Promise<void> => {
    await reply(id, () => answer(data, asked))
    if (asked.type === 'close') port.close()
  }
  port.on('message', (question: Question) => void take(question))
}

if (parentPort !== null) await run(parentPort)
