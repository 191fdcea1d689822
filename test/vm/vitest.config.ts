import { defineConfig } from 'vitest/config'

/** Tests for the kernel that `npm run vm` boots. It is slow: everything has time. */
export default defineConfig({
  test: { include: ['test/vm/*.test.ts', 'test/interop/backbone-wg.test.ts'], pool: 'forks', maxWorkers: 1, testTimeout: 300_000, hookTimeout: 300_000, reporters: ['verbose'] },
})
