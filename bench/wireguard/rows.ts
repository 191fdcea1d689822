/** The rows of WireGuard's table: whose value, against whose, and what it should be. Pure. */
import { median, ratioOfMedians } from '../statistics.ts'
import type { Ratio, Verdict } from '../statistics.ts'

export interface Goal {
  readonly bound: 'at least' | 'at most'
  readonly value: number
}

export interface WireguardRow {
  /** Of the value, in what a turn measured. */
  readonly id: string
  readonly name: string
  readonly unit: string
  /** Ours. */
  readonly subject: string
  readonly goal: Goal | null
  /** Against the value itself instead of wireguard-go's. */
  readonly absolute?: true
}

const atLeast = (value: number): Goal => ({ bound: 'at least', value })
const atMost = (value: number): Goal => ({ bound: 'at most', value })

export const ROWS: readonly WireguardRow[] = [
  { id: 'send-rate', name: 'one TCP stream, sending', unit: 'Mbit/s', subject: 'fast', goal: atLeast(0.9) },
  { id: 'send-cpu', name: '… processor time', unit: 'us CPU/Mbit', subject: 'fast', goal: atMost(1) },
  { id: 'receive-rate', name: 'one TCP stream, receiving', unit: 'Mbit/s', subject: 'fast', goal: atLeast(0.9) },
  { id: 'receive-cpu', name: '… processor time', unit: 'us CPU/Mbit', subject: 'fast', goal: atMost(1) },
  { id: 'send-rate', name: 'one TCP stream, sending, portable path', unit: 'Mbit/s', subject: 'portable', goal: atLeast(0.5) },
  { id: 'send-cpu', name: '… processor time', unit: 'us CPU/Mbit', subject: 'portable', goal: null },
  { id: 'receive-rate', name: 'one TCP stream, receiving, portable path', unit: 'Mbit/s', subject: 'portable', goal: atLeast(0.5) },
  { id: 'receive-cpu', name: '… processor time', unit: 'us CPU/Mbit', subject: 'portable', goal: null },
  { id: 'send-rate', name: 'one TCP stream, sending, through the WebSocket', unit: 'Mbit/s', subject: 'websocket', goal: atLeast(0.3) },
  { id: 'receive-rate', name: 'one TCP stream, receiving, through the WebSocket', unit: 'Mbit/s', subject: 'websocket', goal: atLeast(0.3) },
  { id: 'round-trip', name: 'round trip added', unit: 'us', subject: 'fast', goal: atMost(1.2) },
  { id: 'handshakes', name: 'handshakes', unit: '/CPU second', subject: 'fast', goal: atLeast(1500), absolute: true },
  { id: 'memory-idle', name: 'a peer without a session', unit: 'KB', subject: 'fast', goal: atMost(1), absolute: true },
  { id: 'memory-session', name: 'a peer with a session', unit: 'KB', subject: 'fast', goal: atMost(8), absolute: true },
  { id: 'many-peers', name: '1,000 peers, a ping and its answer', unit: 'us CPU', subject: 'fast', goal: null },
]

/** Of each subject, what each of its turns measured. */
export type Turns = ReadonlyMap<string, readonly Readonly<Record<string, number>>[]>

export interface WireguardResult {
  readonly name: string
  readonly unit: string
  readonly ours: number
  readonly theirs: number
  /** Of what is ours itself when the goal is a number in its unit. */
  readonly ratio: Ratio | null
  readonly isAbsolute: boolean
  readonly goal: string
  readonly verdict: Verdict | null
}

export function resultOf({ id, name, unit, subject, goal, absolute }: WireguardRow, turns: Turns, rival: string): WireguardResult {
  const values = (of: string): number[] => (turns.get(of) ?? []).map((turn) => turn[id] ?? Number.NaN).filter((value) => !Number.isNaN(value))
  const [ours, theirs] = [values(subject), values(rival)]
  const rounds = Math.min(ours.length, theirs.length)
  const measured = absolute ? ours.map(() => 1) : theirs.slice(0, rounds)
  const ratio = rounds === 0 ? null : ratioOfMedians(absolute ? ours : ours.slice(0, rounds), [measured])
  return {
    name,
    unit,
    ours: median(ours),
    theirs: median(theirs),
    ratio,
    isAbsolute: absolute === true,
    goal: goal === null ? '-' : `${goal.bound === 'at least' ? '>=' : '<='} ${goal.value}`,
    verdict: goal === null || ratio === null ? null : verdictOf(ratio.interval, goal),
  }
}

export function verdictOf([low, high]: readonly [number, number], { bound, value }: Goal): Verdict {
  if (bound === 'at most') return high <= value ? 'met' : low > value ? 'missed' : 'undecided'
  return low >= value ? 'met' : high < value ? 'missed' : 'undecided'
}
