/** Inside the core, imports go one way: each folder knows only those that `index.ts` lists before it. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..', '..', 'src', 'ioasid');
const index = readFileSync(join(ROOT, 'index.ts'), 'utf8');
const listed = [...index.matchAll(/^ \* - `(\w+)\/`: /gm)].map(([, folder = '']) => folder);

it('every folder is listed', () => {
  const folders = readdirSync(ROOT, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  expect(folders.map(({ name }) => name).sort()).toEqual([...listed].sort());
});

it.each(listed)('%s/ imports only folders before it', (folder) => {
  const before = listed.slice(0, listed.indexOf(folder));
  for (const file of readdirSync(join(ROOT, folder))) {
    const text = readFileSync(join(ROOT, folder, file), 'utf8');
    for (const [, target = ''] of text.matchAll(/from '\.\.\/(\w+)\//g)) {
      expect(before, `${folder}/${file} imports ${target}/`).toContain(target);
    }
  }
});
