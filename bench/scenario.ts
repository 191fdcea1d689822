/**
 * A scenario: a load that is put on each program in turn, and what is read off it. Rows with a goal are compared with the
 * programs that the goal names, or with a fixed limit.
 */
import type { RunningPeer } from './peers/peer.ts'
import type { World } from './world.ts'

export interface Goal {
  /** Largest ratio that meets it. */
  readonly atMost: number
  /** Whom ours is divided by: the best of these programs, or a number in the row's unit. */
  readonly against: readonly string[] | number
}

export interface Row {
  /** Key of the value in what `measure` gives. */
  readonly id: string
  readonly name: string
  readonly unit: string
  readonly goal: Goal | null
  /** Without a goal: whom the ratio is made with. */
  readonly against?: readonly string[]
}

export interface Place {
  readonly world: World
  /** null: no program at all, the way that is always there. */
  readonly peer: RunningPeer | null
  /** A program of the same kind of its own, started fresh and stopped by the caller. */
  readonly fresh: () => Promise<RunningPeer>
  readonly quick: boolean
}

export interface Scenario {
  readonly id: string
  /** Ours, by id. */
  readonly subject: string
  readonly peers: readonly string[]
  /** Measured without any program first, and subtracted from the rows with these ids. */
  readonly baseline?: readonly string[]
  /** At most so many, whatever was asked for: for what is slow and hardly varies. */
  readonly maxRounds?: number
  readonly rows: readonly Row[]
  readonly prepare?: (world: World) => Promise<void>
  /** One round of one program: row id -> value. */
  readonly measure: (place: Place) => Promise<Readonly<Record<string, number>>>
}
