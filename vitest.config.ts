import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
          exclude: ['**/*.lab.test.ts'],
        },
      },
      { test: { name: 'lab', include: ['src/**/*.lab.test.ts', 'test/**/*.lab.test.ts'] } },
    ],
    coverage: { include: ['src/**/*.ts'], exclude: ['src/**/*.test.ts', 'src/**/index.ts'] },
  },
});
