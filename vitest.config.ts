import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/{unit,contract,interop,fuzz,regression}/**/*.test.ts', 'test/architecture.test.ts'],
    pool: 'forks',
    maxWorkers: 4,
    // Tests wait on conditions; this only ends what hangs, also where programs start ten times slower than on an idle machine.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
