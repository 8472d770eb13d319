/** The examples in `docs/` that import the package are run, and print what the documentation says they print. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..', '..');

/** Each block of JavaScript, with the block of text that follows it at once. */
function examples(page: string): { code: string; prints: string }[] {
  const text = readFileSync(join(ROOT, 'docs', page), 'utf8');
  return [...text.matchAll(/```js\n(.*?)```\n\n```text\n(.*?)```/gs)].map(([, code = '', prints = '']) => ({
    code,
    prints,
  }));
}

describe('docs/ioasid.md', () => {
  const found = examples('ioasid.md');

  it('has its worked example', () => {
    expect(found.length).toBe(1);
  });

  for (const { code, prints } of found) {
    it('prints what it says', () => {
      const entry = pathToFileURL(join(ROOT, 'dist', 'ioasid', 'index.js')).href;
      const input = code.replaceAll("'ioasis/ioasid'", `'${entry}'`);
      const ran = spawnSync(process.execPath, ['--input-type=module'], { input, encoding: 'utf8' });
      expect(ran.stderr).toBe('');
      expect(ran.stdout).toBe(prints);
    });
  }

  it('names a test of each fault of the series', () => {
    const page = readFileSync(join(ROOT, 'docs', 'ioasid.md'), 'utf8');
    const tests = readFileSync(join(ROOT, 'test', 'ioasid', 'series.test.ts'), 'utf8');
    for (let fault = 1; fault <= 19; fault++) {
      expect(page).toMatch(new RegExp(`^\\| A${fault} +\\|`, 'm'));
      expect(tests).toContain(`it('A${fault} `);
    }
  });
});
