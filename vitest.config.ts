import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          testTimeout: 60_000,
          include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
          exclude: ['**/*.lab.test.ts'],
        },
      },
      {
        test: {
          name: 'lab',
          include: ['src/**/*.lab.test.ts', 'test/**/*.lab.test.ts'],
          globalSetup: ['test/lab/setup.ts'],
          testTimeout: 60_000,
          // A suite may wait for the boots and the suites before it.
          hookTimeout: 600_000,
        },
      },
    ],
    coverage: { include: ['src/**/*.ts'], exclude: ['src/**/*.test.ts', 'src/**/index.ts'] },
  },
});
