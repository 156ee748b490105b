/** Three projects, one for each lane of test/run.ts that vitest runs. */
import { defineConfig } from 'vitest/config'

const integration = ['{src,test,sim,bench}/**/*.integration.test.ts']
const endToEnd = ['test/e2e/**/*.test.ts', 'test/kill/kill-*.test.ts']

export default defineConfig({
  test: {
    // Leftovers of one test must not help another one pass.
    unstubEnvs: true,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['{src,test,bench,sim}/**/*.test.ts'],
          exclude: [...integration, ...endToEnd],
          testTimeout: 10_000,
        },
      },
      {
        test: {
          name: 'integration',
          include: integration,
          // One real PostgreSQL, on which each file makes its own databases.
          fileParallelism: false,
          testTimeout: 30_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'e2e',
          include: endToEnd,
          globalSetup: ['test/e2e/shared-platform.ts'],
          // One platform with a real engine, on few cores: side by side, tests would measure each other.
          fileParallelism: false,
          testTimeout: 60_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
})
