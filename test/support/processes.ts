/** The machine's processes as /proc shows them: whose child, which command, in which pid namespace. Linux. */
import { readFileSync, readdirSync, readlinkSync } from 'node:fs'

export interface Process {
  readonly pid: number
  readonly parent: number
  readonly command: string
}

function read<Value>(look: () => Value): Value | null {
  try {
    return look()
  } catch {
    // It ended while we looked, or isn't ours to see.
    return null
  }
}

/** Zombies aren't counted: nothing of them is left but the number. */
export function processes(): Process[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((entry) => {
      // The name in brackets may hold anything: fields count from the last bracket.
      const fields = read(() => readFileSync(`/proc/${entry}/stat`, 'latin1').replace(/^.*\) /s, '').split(' '))
      if (fields === null || fields[0] === 'Z') return []
      const command = (read(() => readFileSync(`/proc/${entry}/cmdline`, 'latin1')) ?? '').replaceAll('\0', ' ').trim()
      return [{ pid: Number(entry), parent: Number(fields[1]), command }]
    })
}

/** It exists, and isn't only waiting to be reaped. */
export function runs(pid: number): boolean {
  return processes().some((each) => each.pid === pid)
}

/** All whose working directory is in there: engines that nobody looks after any more. */
export function killWithin(directory: string): void {
  for (const { pid } of processes()) if (read(() => readlinkSync(`/proc/${pid}/cwd`))?.startsWith(`${directory}/`) === true) read(() => process.kill(pid, 'SIGKILL'))
}

/** `pid` and everything below it. */
export function family(pid: number): Process[] {
  const all = processes()
  const below = (parent: number): Process[] => all.filter((each) => each.parent === parent).flatMap((each) => [each, ...below(each.pid)])
  return [...all.filter((each) => each.pid === pid), ...below(pid)]
}

/** Those whose command line or environment holds `text`, without this process. */
export function mentioning(text: string): Process[] {
  const holds = (pid: number, file: string): boolean => read(() => readFileSync(`/proc/${pid}/${file}`, 'latin1').includes(text)) ?? false
  return processes().filter(({ pid }) => pid !== process.pid && (holds(pid, 'cmdline') || holds(pid, 'environ')))
}

/** Like `pid:[4026532281]`. */
export function pidNamespace(pid: number): string {
  return readlinkSync(`/proc/${pid}/ns/pid`)
}

export function inhabitants(namespace: string): Process[] {
  return processes().filter(({ pid }) => read(() => readlinkSync(`/proc/${pid}/ns/pid`)) === namespace)
}
