/**
 * How much of an engine's append-only file is a copy of its contents, which loads fast, and how much are commands, which it
 * carries out one by one when it starts. From the sizes of Redis's own files (appendonlydir); nothing of them is read.
 */
import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'

const DIRECTORY = 'appendonlydir'
const COPY = '.base.rdb'
/** Carried out in a few milliseconds. */
const FEW_BYTES = 64 << 10
/** Of the copy: what is left of the time is the copy's then. */
const SMALL_SHARE = 1 / 8

/** Writing it anew would make the next start clearly faster. `data`: where the engine keeps its files. Never rejects. */
export async function isLongToLoad(data: string): Promise<boolean> {
  const directory = join(data, DIRECTORY)
  let [copyBytes, commandBytes] = [0, 0]
  for (const name of await readdir(directory).catch(() => [])) {
    const bytes = await lstat(join(directory, name)).then((stat) => (stat.isFile() ? stat.size : 0), () => 0)
    if (name.endsWith(COPY)) copyBytes += bytes
    else commandBytes += bytes
  }
  return commandBytes > Math.max(FEW_BYTES, copyBytes * SMALL_SHARE)
}
