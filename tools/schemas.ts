/**
 * The published JSON Schemas that come from declarations in the sources.
 *
 *     node build/tools/schemas.js          writes them
 *     node build/tools/schemas.js --check  fails (exit 1) if a file holds something else
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { runJsonSchema } from '#src/cli/run-document.js';
import { scenarioJsonSchema } from '#src/machine/index.js';

const FILES: Readonly<Record<string, () => object>> = {
  'run.schema.json': runJsonSchema,
  'scenario.schema.json': scenarioJsonSchema,
};

for (const [name, make] of Object.entries(FILES)) {
  const file = fileURLToPath(new URL(`../../schema/${name}`, import.meta.url));
  const text = `${JSON.stringify(make(), undefined, 2)}\n`;
  const found = readOr(file, '');
  if (JSON.stringify(JSON.parse(found || 'null')) === JSON.stringify(make())) continue;
  if (process.argv.includes('--check')) {
    console.error(`schema/${name} is not what the sources declare: npm run docs writes it anew`);
    process.exitCode = 1;
  } else {
    writeFileSync(`${file}.new`, text);
    renameSync(`${file}.new`, file);
  }
}

function readOr(file: string, otherwise: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return otherwise;
  }
}
