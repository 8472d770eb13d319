import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { FAULTS } from '../../tools/faults/index.js';

const ROOT = join(import.meta.dirname, '..', '..');

it('each single fault fits its file: its text stands there once', () => {
  const misfits = FAULTS.filter(({ file, find }) => {
    return readFileSync(join(ROOT, file), 'utf8').split(find).length !== 2;
  });
  expect(misfits.map(({ name, file }) => `${file}: ${name}`)).toEqual([]);
});
